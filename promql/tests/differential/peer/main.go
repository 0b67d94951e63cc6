// Program promql-peer evaluates queries with Prometheus's own engine and storage.
//
// It reads requests, one JSON object a line, and answers each with one line:
//
//	{"load": {"step_ms": 15000, "series": [{"line": "m{a=\"b\"} 1 2 3", "starts": [null, -5000, 0]}]}}
//	{"query": "m", "start": 0, "end": 60000, "step": 15000, "flags": "dts"}
//	{"parse": "m"}
//
// A load replaces all that was loaded before. A step of zero asks for an instant query. Floats are
// answered as hexadecimal bits, so that nothing is rounded on the way.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

type request struct {
	Load  *load   `json:"load"`
	Parse *string `json:"parse"`
	Query string  `json:"query"`
	Start int64   `json:"start"`
	End   int64   `json:"end"`
	Step  int64   `json:"step"`
	Flags string  `json:"flags"`
}

type load struct {
	StepMs int64        `json:"step_ms"`
	Series []seriesLine `json:"series"`
}

type seriesLine struct {
	Line   string   `json:"line"`
	Starts []*int64 `json:"starts"`
}

type answer struct {
	Error    string   `json:"error,omitempty"`
	Text     string   `json:"text,omitempty"`
	Kind     string   `json:"kind,omitempty"`
	Series   []series `json:"series,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
	Infos    []string `json:"infos,omitempty"`
}

type series struct {
	Labels [][2]string `json:"labels"`
	Points []point     `json:"points"`
}

type point struct {
	T int64  `json:"t"`
	V string `json:"v,omitempty"`
	H *hist  `json:"h,omitempty"`
}

type hist struct {
	Schema    int32    `json:"schema"`
	Hint      byte     `json:"hint"`
	Count     string   `json:"count"`
	Sum       string   `json:"sum"`
	Zero      string   `json:"zero"`
	Threshold string   `json:"threshold"`
	Positive  []bucket `json:"positive"`
	Negative  []bucket `json:"negative"`
	Custom    []string `json:"custom"`
}

type bucket struct {
	Index int64  `json:"index"`
	Count string `json:"count"`
}

var parserOptions = parser.Options{
	EnableExperimentalFunctions:  true,
	ExperimentalDurationExpr:     true,
	EnableExtendedRangeSelectors: true,
	EnableBinopFillModifiers:     true,
}

type peer struct {
	parser  parser.Parser
	engines map[string]*promql.Engine
	db      *tsdb.DB
	dir     string
}

func main() {
	p := &peer{parser: parser.NewParser(parserOptions), engines: map[string]*promql.Engine{}}
	in, out := json.NewDecoder(bufio.NewReader(os.Stdin)), bufio.NewWriter(os.Stdout)
	encoder := json.NewEncoder(out)
	for {
		var r request
		if in.Decode(&r) != nil {
			break
		}
		if err := encoder.Encode(p.answer(&r)); err != nil {
			break
		}
		out.Flush()
	}
	p.close()
}

func (p *peer) answer(r *request) answer {
	switch {
	case r.Load != nil:
		if err := p.load(r.Load); err != nil {
			return answer{Error: err.Error()}
		}
		return answer{}
	case r.Parse != nil:
		expr, err := p.parser.ParseExpr(*r.Parse)
		if err != nil {
			return answer{Error: err.Error()}
		}
		return answer{Text: expr.String()}
	default:
		return p.query(r)
	}
}

func (p *peer) close() {
	if p.db != nil {
		p.db.Close()
		os.RemoveAll(p.dir)
	}
}

func (p *peer) load(l *load) error {
	p.close()
	p.db = nil
	dir, err := os.MkdirTemp("", "promql-peer")
	if err != nil {
		return err
	}
	options := tsdb.DefaultOptions()
	options.MinBlockDuration = int64(24 * time.Hour / time.Millisecond)
	options.MaxBlockDuration = options.MinBlockDuration
	options.RetentionDuration = 0
	options.WALSegmentSize = -1
	options.EnableSTStorage = true
	options.XOR2EncodingAllowed = true
	options.FloatChunkEncoding = chunkenc.EncXOR2
	options.EnableHistogramSTEncoding = true
	db, err := tsdb.Open(dir, nil, nil, options, tsdb.NewDBStats())
	if err != nil {
		return err
	}
	p.db, p.dir = db, dir
	app := db.AppenderV2(context.Background())
	for _, s := range l.Series {
		if err := p.append(app, s, l.StepMs); err != nil {
			return fmt.Errorf("%s: %w", s.Line, err)
		}
	}
	return app.Commit()
}

func (p *peer) append(app storage.AppenderV2, s seriesLine, stepMs int64) error {
	lbls, values, err := p.parser.ParseSeriesDesc(s.Line)
	if err != nil {
		return err
	}
	for i, v := range values {
		if v.Omitted {
			continue
		}
		t, st := int64(i)*stepMs, int64(0)
		if i < len(s.Starts) && s.Starts[i] != nil {
			st = t + *s.Starts[i]
		}
		if _, err := app.Append(0, lbls, st, t, v.Value, nil, v.Histogram, storage.AppendV2Options{}); err != nil {
			return err
		}
	}
	return nil
}

// engine makes an engine for flags: d delays the removal of names, t goes by labels of type, s uses
// start timestamps.
func (p *peer) engine(flags string) *promql.Engine {
	if e, ok := p.engines[flags]; ok {
		return e
	}
	e := promql.NewEngine(promql.EngineOpts{
		MaxSamples:               50_000_000,
		Timeout:                  100 * time.Second,
		NoStepSubqueryIntervalFn: func(int64) int64 { return 60_000 },
		EnableAtModifier:         true,
		EnableNegativeOffset:     true,
		LookbackDelta:            5 * time.Minute,
		EnableDelayedNameRemoval: strings.Contains(flags, "d"),
		EnableTypeAndUnitLabels:  strings.Contains(flags, "t"),
		UseStartTimestamps:       strings.Contains(flags, "s"),
		Parser:                   p.parser,
	})
	p.engines[flags] = e
	return e
}

func (p *peer) query(r *request) answer {
	ctx, engine := context.Background(), p.engine(r.Flags)
	var query promql.Query
	var err error
	if r.Step == 0 {
		query, err = engine.NewInstantQuery(ctx, p.db, nil, r.Query, time.UnixMilli(r.Start))
	} else {
		query, err = engine.NewRangeQuery(ctx, p.db, nil, r.Query, time.UnixMilli(r.Start), time.UnixMilli(r.End),
			time.Duration(r.Step)*time.Millisecond)
	}
	if err != nil {
		return answer{Error: err.Error()}
	}
	defer query.Close()
	result := query.Exec(ctx)
	if result.Err != nil {
		return answer{Error: result.Err.Error()}
	}
	var a answer
	a.Warnings, a.Infos = result.Warnings.AsStrings(r.Query, 0, 0)
	switch v := result.Value.(type) {
	case promql.Scalar:
		a.Kind = "scalar"
		a.Series = []series{{Points: []point{{T: v.T, V: bits(v.V)}}}}
	case promql.String:
		a.Kind, a.Text = "string", v.V
	case promql.Vector:
		a.Kind = "vector"
		for _, s := range v {
			a.Series = append(a.Series, series{pairs(s.Metric), []point{toPoint(s.T, s.F, s.H)}})
		}
	case promql.Matrix:
		a.Kind = "matrix"
		for _, s := range v {
			a.Series = append(a.Series, series{pairs(s.Metric), points(s)})
		}
	}
	return a
}

func pairs(l labels.Labels) [][2]string {
	all := [][2]string{}
	l.Range(func(l labels.Label) { all = append(all, [2]string{l.Name, l.Value}) })
	return all
}

// points merges floats and histograms in the order of their times.
func points(s promql.Series) []point {
	all := []point{}
	f, h := s.Floats, s.Histograms
	for len(f) > 0 || len(h) > 0 {
		if len(h) == 0 || len(f) > 0 && f[0].T <= h[0].T {
			all = append(all, toPoint(f[0].T, f[0].F, nil))
			f = f[1:]
		} else {
			all = append(all, toPoint(h[0].T, 0, h[0].H))
			h = h[1:]
		}
	}
	return all
}

func toPoint(t int64, f float64, h *histogram.FloatHistogram) point {
	if h == nil {
		return point{T: t, V: bits(f)}
	}
	custom := []string{}
	for _, bound := range h.CustomValues {
		custom = append(custom, bits(bound))
	}
	return point{T: t, H: &hist{
		Schema: h.Schema, Hint: byte(h.CounterResetHint),
		Count: bits(h.Count), Sum: bits(h.Sum), Zero: bits(h.ZeroCount), Threshold: bits(h.ZeroThreshold),
		Positive: buckets(h.PositiveSpans, h.PositiveBuckets),
		Negative: buckets(h.NegativeSpans, h.NegativeBuckets),
		Custom:   custom,
	}}
}

// buckets leaves out empty ones, which an answer may have or not.
func buckets(spans []histogram.Span, counts []float64) []bucket {
	all := []bucket{}
	index, at := int64(0), 0
	for _, s := range spans {
		index += int64(s.Offset)
		for range s.Length {
			if counts[at] != 0 {
				all = append(all, bucket{index, bits(counts[at])})
			}
			index, at = index+1, at+1
		}
	}
	return all
}

func bits(f float64) string {
	return strconv.FormatUint(math.Float64bits(f), 16)
}
