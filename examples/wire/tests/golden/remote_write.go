package main

import (
	"log"
	"math"

	"github.com/golang/snappy"
	"github.com/prometheus/common/model"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

const now = 1_700_000_000_000

func intHistogram() *histogram.Histogram {
	return &histogram.Histogram{
		CounterResetHint: histogram.NotCounterReset,
		Schema:           2,
		ZeroThreshold:    1e-128,
		ZeroCount:        3,
		Count:            17,
		Sum:              -12.25,
		PositiveSpans:    []histogram.Span{{Offset: -3, Length: 2}, {Offset: 4, Length: 1}},
		PositiveBuckets:  []int64{4, -1, 2},
		NegativeSpans:    []histogram.Span{{Offset: 0, Length: 1}},
		NegativeBuckets:  []int64{2},
	}
}

func floatHistogram() *histogram.FloatHistogram {
	return &histogram.FloatHistogram{
		CounterResetHint: histogram.GaugeType,
		Schema:           -1,
		ZeroThreshold:    0.001,
		ZeroCount:        0.5,
		Count:            4,
		Sum:              9.75,
		PositiveSpans:    []histogram.Span{{Offset: 1, Length: 2}},
		PositiveBuckets:  []float64{1.5, 2},
	}
}

func customHistogram() *histogram.Histogram {
	return &histogram.Histogram{
		Schema:          histogram.CustomBucketsSchema,
		Count:           6,
		Sum:             3.5,
		PositiveSpans:   []histogram.Span{{Offset: 0, Length: 3}},
		PositiveBuckets: []int64{1, 1, 1},
		CustomValues:    []float64{0.1, 1},
	}
}

// remoteWrite makes one request of each version with everything that it can hold.
func remoteWrite() map[string][]byte {
	trace := labels.FromStrings("trace_id", "4bf92f35")
	var v1 prompb.WriteRequest
	name := func(name string) labels.Labels {
		return labels.FromStrings("__name__", name, "job", "golden", "utf8.name", "ü")
	}
	of := func(name labels.Labels) prompb.TimeSeries {
		return prompb.TimeSeries{Labels: prompb.FromLabels(name, nil)}
	}
	floats := of(name("requests_total"))
	floats.Samples = []prompb.Sample{{Value: 1.5, Timestamp: now}, {Value: 2.5, Timestamp: now + 1000}}
	floats.Exemplars = []prompb.Exemplar{{Labels: prompb.FromLabels(trace, nil), Value: 0.5, Timestamp: now}}
	ints := of(name("latency_seconds"))
	ints.Histograms = []prompb.Histogram{prompb.FromIntHistogram(now, intHistogram())}
	ints.Exemplars = floats.Exemplars
	gauges := of(name("size_bytes"))
	gauges.Histograms = []prompb.Histogram{prompb.FromFloatHistogram(now, floatHistogram())}
	custom := of(name("custom_seconds"))
	custom.Histograms = []prompb.Histogram{
		prompb.FromIntHistogram(now, customHistogram()),
		prompb.FromIntHistogram(now+1000, &histogram.Histogram{Sum: float64FromStale()}),
	}
	v1.Timeseries = []prompb.TimeSeries{floats, ints, gauges, custom}
	v1.Metadata = []prompb.MetricMetadata{{
		Type: prompb.MetricMetadata_COUNTER, MetricFamilyName: "requests_total", Help: "Requests.",
	}}
	first, err := v1.Marshal()
	if err != nil {
		log.Fatal(err)
	}

	var v2 writev2.Request
	symbols := writev2.NewSymbolTable()
	series := func(name labels.Labels, m metadata.Metadata) writev2.TimeSeries {
		return writev2.TimeSeries{
			LabelsRefs: symbols.SymbolizeLabels(name, nil),
			Metadata: writev2.Metadata{
				Type: writev2.FromMetadataType(m.Type), HelpRef: symbols.Symbolize(m.Help), UnitRef: symbols.Symbolize(m.Unit),
			},
		}
	}
	requests := series(name("requests_total"), metadata.Metadata{Type: model.MetricTypeCounter, Help: "Requests."})
	requests.Samples = []writev2.Sample{
		{Value: 1.5, Timestamp: now, StartTimestamp: now - 5000},
		{Value: 2.5, Timestamp: now + 1000, StartTimestamp: now - 5000},
	}
	e := exemplar.Exemplar{Labels: trace, Value: 0.5, Ts: now}
	requests.Exemplars = []writev2.Exemplar{{
		LabelsRefs: symbols.SymbolizeLabels(e.Labels, nil), Value: e.Value, Timestamp: e.Ts,
	}}
	plain := series(name("temperature"), metadata.Metadata{Type: model.MetricTypeGauge, Unit: "celsius"})
	plain.Samples = []writev2.Sample{{Value: 21.5, Timestamp: now}}
	latency := series(name("latency_seconds"), metadata.Metadata{
		Type: model.MetricTypeHistogram, Help: "Latency.", Unit: "seconds",
	})
	latency.Histograms = []writev2.Histogram{writev2.FromIntHistogram(now-5000, now, intHistogram())}
	latency.Exemplars = requests.Exemplars
	size := series(name("size_bytes"), metadata.Metadata{})
	size.Histograms = []writev2.Histogram{writev2.FromFloatHistogram(0, now, floatHistogram())}
	bounds := series(name("custom_seconds"), metadata.Metadata{})
	bounds.Histograms = []writev2.Histogram{
		writev2.FromIntHistogram(0, now, customHistogram()),
		writev2.FromIntHistogram(0, now+1000, &histogram.Histogram{Sum: float64FromStale()}),
	}
	v2.Timeseries = []writev2.TimeSeries{requests, plain, latency, size, bounds}
	v2.Symbols = symbols.Symbols()
	second, err := v2.Marshal()
	if err != nil {
		log.Fatal(err)
	}
	return map[string][]byte{
		"remote_write/v1/request.snappy": snappy.Encode(nil, first),
		"remote_write/v2/request.snappy": snappy.Encode(nil, second),
	}
}

func float64FromStale() float64 {
	return math.Float64frombits(value.StaleNaN)
}
