package main

import (
	"context"
	"fmt"
	"log"
	"math"
	"sort"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	otlp "github.com/prometheus/prometheus/storage/remote/otlptranslator/prometheusremotewrite"
)

// lines notes what is appended: samples, exemplars and metadata, a line each.
type lines map[string]bool

func (l lines) Append(_ storage.SeriesRef, ls labels.Labels, st, t int64, v float64, h *histogram.Histogram, _ *histogram.FloatHistogram, opts storage.AOptions) (storage.SeriesRef, error) {
	text := fmt.Sprintf("%016x", math.Float64bits(v))
	switch {
	case h != nil && value.IsStaleNaN(h.Sum):
		text = "stale"
	case h != nil:
		text = fmt.Sprintf("%s hint %d", h.String(), h.CounterResetHint)
	case value.IsStaleNaN(v):
		text = "stale"
	}
	l[fmt.Sprintf("%s %d since %d: %s", ls, t, st, text)] = true
	m := opts.Metadata
	l[fmt.Sprintf("%s is %s, in %q: %q", ls, m.Type, m.Unit, m.Help)] = true
	for _, e := range opts.Exemplars {
		l[fmt.Sprintf("%s # %s %d: %016x", ls, e.Labels, e.Ts, math.Float64bits(e.Value))] = true
	}
	return 1, nil
}
func (lines) Commit() error   { return nil }
func (lines) Rollback() error { return nil }

func at(ms int64) pcommon.Timestamp { return pcommon.Timestamp(ms * 1_000_000) }

// otlpRequest has a metric of every kind, with what is odd about names, attributes and points.
func otlpRequest() pmetric.Metrics {
	md := pmetric.NewMetrics()
	rm := md.ResourceMetrics().AppendEmpty()
	attrs := rm.Resource().Attributes()
	attrs.PutStr("service.name", "shop")
	attrs.PutStr("service.namespace", "prod")
	attrs.PutStr("service.instance.id", "shop-1")
	attrs.PutStr("host.name", "h1")
	attrs.PutInt("process.pid", 42)
	attrs.PutDouble("weight", 2.5e-7)
	attrs.PutBool("spot", true)
	attrs.PutEmptyBytes("raw").FromRaw([]byte{0, 1, 255, 254})
	attrs.PutEmpty("nothing")
	list := attrs.PutEmptySlice("zones")
	list.AppendEmpty().SetStr("a\"<b>\n\u2028")
	list.AppendEmpty().SetInt(-3)
	list.AppendEmpty()
	inner := attrs.PutEmptyMap("tags")
	inner.PutStr("z", "1")
	inner.PutDouble("a", 1e21)
	inner.PutDouble("tiny", 1.5e-9)
	inner.PutEmptySlice("none")
	sm := rm.ScopeMetrics().AppendEmpty()
	sm.SetSchemaUrl("https://example.com/1.0")
	sm.Scope().SetName("lib")
	sm.Scope().SetVersion("1.2")
	sm.Scope().Attributes().PutStr("short.name", "l")

	metric := func(name, unit, help string) pmetric.Metric {
		m := sm.Metrics().AppendEmpty()
		m.SetName(name)
		m.SetUnit(unit)
		m.SetDescription(help)
		return m
	}
	gauge := func(name, unit string) pmetric.NumberDataPoint {
		p := metric(name, unit, "Gauge "+name).SetEmptyGauge().DataPoints().AppendEmpty()
		p.SetTimestamp(at(now))
		p.SetDoubleValue(1.5)
		return p
	}
	p := gauge("memory.usage", "By")
	p.SetIntValue(-7)
	p.Attributes().PutStr("state", "used")
	p.Attributes().PutStr("state.kind", "b")
	p.Attributes().PutStr("state_kind", "a")
	p.Attributes().PutStr("_private", "x")
	p.Attributes().PutStr("__own__", "y")
	p.Attributes().PutStr("a__b..c", "z")
	p.Attributes().PutStr("9lives", "cat")
	p.Attributes().PutStr("grüße", "ü")
	p.Attributes().PutStr("empty", "")
	p.Attributes().PutStr("job", "overridden")
	p.Attributes().PutStr("__name__", "ignored")
	for _, named := range [][2]string{
		{"ratio.of.things", "1"}, {"cpu_ratio", "1"}, {"speed", "m/s"}, {"rate.per_second", "By/s"},
		{"temp", "Cel"}, {"odd.unit", "{packets}"}, {"odd.unit2", "{packets}/s"}, {"9.starts", "ms"}, {"a..b__c", ""},
		{"x:y", "%"}, {"memory.bytes.used", "By"}, {"weird", "__we!ird__/ per yr_"}, {"slash", "/s"}, {"cubic", "m3"},
		{"grüße.aus", "GiBy"}, {"_under_", "h"}, {"per", "1/ "}, {"trailing.", "d"}, {"only.per", "/{x}"},
		{"bytes", "By"}, {"seconds.total", "s"},
	} {
		gauge(named[0], named[1])
	}
	sum := func(name, unit string, monotonic bool) pmetric.NumberDataPoint {
		s := metric(name, unit, "Sum "+name).SetEmptySum()
		s.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
		s.SetIsMonotonic(monotonic)
		p := s.DataPoints().AppendEmpty()
		p.SetStartTimestamp(at(now - 60_000))
		p.SetTimestamp(at(now))
		p.SetIntValue(12)
		return p
	}
	p = sum("requests", "1", true)
	for i, v := range []float64{0.5, 2} {
		e := p.Exemplars().AppendEmpty()
		e.SetTimestamp(at(now - 1000 + int64(i)))
		e.SetDoubleValue(v)
		e.SetTraceID([16]byte{1, 2, 0xab})
		e.SetSpanID([8]byte{3})
		e.FilteredAttributes().PutStr("user.id", "u1")
	}
	p = sum("long.exemplar", "", true)
	e := p.Exemplars().AppendEmpty()
	e.SetTimestamp(at(now))
	e.SetIntValue(3)
	e.SetTraceID([16]byte{9})
	e.FilteredAttributes().PutStr("long", strings.Repeat("ä", 90))
	sum("hits.total", "", true)
	sum("total", "", true)
	sum("bytes.sent.total", "By", true)
	sum("per.time", "By/min", true)
	sum("queue.length", "{items}", false)
	sum("stale.sum", "s", true).SetFlags(pmetric.DefaultDataPointFlags.WithNoRecordedValue(true))

	hist := func(name string) pmetric.HistogramDataPoint {
		h := metric(name, "s", "Histogram").SetEmptyHistogram()
		h.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
		p := h.DataPoints().AppendEmpty()
		p.SetStartTimestamp(at(now - 60_000))
		p.SetTimestamp(at(now))
		return p
	}
	h := hist("latency")
	h.SetCount(10)
	h.SetSum(12.5)
	h.ExplicitBounds().FromRaw([]float64{0.005, 0.1, 1, 10, 1000000})
	h.BucketCounts().FromRaw([]uint64{0, 3, 0, 5, 0, 2})
	h.Attributes().PutStr("path", "/a")
	h.Attributes().PutStr("le", "x")
	for i, v := range []float64{0.05, 5, 20_000_000} {
		e := h.Exemplars().AppendEmpty()
		e.SetTimestamp(at(now - 10 + int64(i)))
		e.SetDoubleValue(v)
	}
	h = hist("no.sum")
	h.SetCount(4)
	h.ExplicitBounds().FromRaw([]float64{1})
	h.BucketCounts().FromRaw([]uint64{4, 0})
	h = hist("no.buckets")
	h.SetCount(4)
	h.SetSum(1)
	h.BucketCounts().FromRaw([]uint64{4})
	h = hist("stale.histogram")
	h.SetFlags(pmetric.DefaultDataPointFlags.WithNoRecordedValue(true))
	h.ExplicitBounds().FromRaw([]float64{1})
	h.BucketCounts().FromRaw([]uint64{0, 0})
	h.SetSum(0)

	exp := func(name string, scale int32) pmetric.ExponentialHistogramDataPoint {
		h := metric(name, "ms", "Exponential").SetEmptyExponentialHistogram()
		h.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
		p := h.DataPoints().AppendEmpty()
		p.SetStartTimestamp(at(now - 60_000))
		p.SetTimestamp(at(now))
		p.SetScale(scale)
		return p
	}
	x := exp("exp.latency", 3)
	x.SetCount(20)
	x.SetSum(99.5)
	x.SetZeroCount(2)
	x.Positive().SetOffset(-2)
	x.Positive().BucketCounts().FromRaw([]uint64{1, 0, 0, 4, 0, 0, 0, 5, 2, 0})
	x.Negative().SetOffset(1)
	x.Negative().BucketCounts().FromRaw([]uint64{0, 6})
	ex := x.Exemplars().AppendEmpty()
	ex.SetTimestamp(at(now))
	ex.SetDoubleValue(4)
	x = exp("exp.fine", 11)
	x.SetCount(36)
	x.SetSum(1)
	x.Positive().SetOffset(-5)
	x.Positive().BucketCounts().FromRaw([]uint64{1, 2, 3, 4, 5, 6, 7, 8})
	x = exp("exp.stale", 0)
	x.SetFlags(pmetric.DefaultDataPointFlags.WithNoRecordedValue(true))

	s := metric("durations", "s", "Summary").SetEmptySummary().DataPoints().AppendEmpty()
	s.SetStartTimestamp(at(now - 60_000))
	s.SetTimestamp(at(now))
	s.SetCount(5)
	s.SetSum(2.5)
	for _, q := range []float64{0, 0.5, 0.99, 1} {
		v := s.QuantileValues().AppendEmpty()
		v.SetQuantile(q)
		v.SetValue(q * 3)
	}

	// Points over more than half a lookback, without a service name; and a resource that tells nothing.
	rm = md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("service.instance.id", "i2")
	rm.Resource().Attributes().PutStr("host.name", "h2")
	rm.Resource().Attributes().PutStr("host_name", "other")
	sm = rm.ScopeMetrics().AppendEmpty()
	g := metric("load", "", "").SetEmptyGauge()
	for i := range int64(3) {
		p := g.DataPoints().AppendEmpty()
		p.SetTimestamp(at(now + 200_000*(i-2)))
		p.SetDoubleValue(float64(i))
	}
	rm = md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("host.name", "h3")
	sm = rm.ScopeMetrics().AppendEmpty()
	gauge("alone", "")

	// Deltas.
	rm = md.ResourceMetrics().AppendEmpty()
	rm.Resource().Attributes().PutStr("service.name", "deltas")
	sm = rm.ScopeMetrics().AppendEmpty()
	p = sum("delta.sum", "", true)
	sm.Metrics().At(0).Sum().SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
	x = exp("delta.exp", 0)
	x.SetCount(1)
	x.Positive().BucketCounts().FromRaw([]uint64{1})
	sm.Metrics().At(1).ExponentialHistogram().SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
	h = hist("delta.histogram")
	h.SetCount(1)
	h.ExplicitBounds().FromRaw([]float64{1})
	h.BucketCounts().FromRaw([]uint64{1, 0})
	sm.Metrics().At(2).Histogram().SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
	return md
}

// otlpMetrics translates the request under several settings.
func otlpMetrics() map[string][]byte {
	md := otlpRequest()
	request, err := pmetricotlp.NewExportRequestFromMetrics(md).MarshalProto()
	if err != nil {
		log.Fatal(err)
	}
	asJSON, err := pmetricotlp.NewExportRequestFromMetrics(md).MarshalJSON()
	if err != nil {
		log.Fatal(err)
	}
	files := map[string][]byte{"otlp/request.pb": request, "otlp/request.json": asJSON}
	only := otlp.NewPromoteResourceAttributes(config.OTLPConfig{PromoteResourceAttributes: []string{"host.name", "zones", "absent"}})
	all := otlp.NewPromoteResourceAttributes(config.OTLPConfig{PromoteAllResourceAttributes: true, IgnoreResourceAttributes: []string{"raw"}})
	for name, s := range map[string]otlp.Settings{
		"UnderscoreEscapingWithSuffixes": {
			AddMetricSuffixes: true, LabelNameUnderscoreSanitization: true, LabelNamePreserveMultipleUnderscores: true,
		},
		"UnderscoreEscapingWithoutSuffixes": {
			LabelNameUnderscoreSanitization: true, LabelNamePreserveMultipleUnderscores: true, PromoteResourceAttributes: only,
		},
		"NoUTF8EscapingWithSuffixes": {
			AllowUTF8: true, AddMetricSuffixes: true, PromoteScopeMetadata: true, KeepIdentifyingResourceAttributes: true,
		},
		"NoTranslation":     {AllowUTF8: true, ConvertHistogramsToNHCB: true, AllowDeltaTemporality: true},
		"plain_underscores": {PromoteResourceAttributes: all, PromoteScopeMetadata: true, AllowDeltaTemporality: true},
	} {
		got := lines{}
		_, err := otlp.NewPrometheusConverter(got).FromMetrics(context.Background(), md, s)
		log.Println(name, err)
		var sorted []string
		for line := range got {
			sorted = append(sorted, line)
		}
		sort.Strings(sorted)
		files["otlp/"+name+".txt"] = []byte(strings.Join(sorted, "\n") + "\n")
	}
	return files
}
