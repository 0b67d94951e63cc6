// Asks a server by the Prometheus client library's api package, and fails where an answer is not what it should be.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

func main() {
	client, err := api.NewClient(api.Config{Address: os.Args[1]})
	check("client", err)
	seconds, err := strconv.ParseInt(os.Args[2], 10, 64)
	check("time", err)
	now, ctx, a := time.Unix(seconds, 0), context.Background(), v1.NewAPI(client)
	hour := now.Add(-time.Hour)

	value, _, err := a.Query(ctx, `torches{place="gate"}`, now, v1.WithTimeout(time.Minute), v1.WithLimit(10))
	check("query", err)
	vector := value.(model.Vector)
	expect("query", len(vector) == 1 && vector[0].Value == 10 && vector[0].Metric["place"] == "gate", value)
	value, warnings, err := a.Query(ctx, `torches`, now, v1.WithLimit(1))
	check("limit", err)
	expect("limit", len(value.(model.Vector)) == 1 && len(warnings) == 1, value)
	value, _, err = a.QueryRange(ctx, `sum(torches)`, v1.Range{Start: now.Add(-time.Minute), End: now, Step: 15 * time.Second}, v1.WithLookbackDelta(time.Minute))
	check("range", err)
	matrix := value.(model.Matrix)
	expect("range", len(matrix) == 1 && len(matrix[0].Values) == 5, value)
	value, _, err = a.Query(ctx, `1.5`, now)
	check("scalar", err)
	expect("scalar", value.(*model.Scalar).Value == 1.5, value)
	_, _, err = a.Query(ctx, `torches(`, now)
	apiErr, is := err.(*v1.Error)
	expect("bad query", is && apiErr.Type == v1.ErrBadData, err)

	names, _, err := a.LabelNames(ctx, []string{"torches"}, hour, now)
	check("label names", err)
	expect("label names", len(names) == 2 && names[1] == "place", names)
	values, _, err := a.LabelValues(ctx, "place", nil, hour, now, v1.WithLimit(100))
	check("label values", err)
	expect("label values", len(values) == 2 && values[0] == "gate", values)
	series, _, err := a.Series(ctx, []string{"torches", "none"}, hour, now)
	check("series", err)
	expect("series", len(series) == 2, series)
	_, err = a.QueryExemplars(ctx, "torches", hour, now)
	check("exemplars", err)

	build, err := a.Buildinfo(ctx)
	check("buildinfo", err)
	expect("buildinfo", build.Version != "", build)
	runtime, err := a.Runtimeinfo(ctx)
	check("runtimeinfo", err)
	expect("runtimeinfo", !runtime.StartTime.IsZero(), runtime)
	_, err = a.Config(ctx)
	check("config", err)
	flags, err := a.Flags(ctx)
	check("flags", err)
	expect("flags", flags["listen"] != "", flags)
	tsdb, err := a.TSDB(ctx)
	check("tsdb", err)
	expect("tsdb", tsdb.HeadStats.NumSeries == 2, tsdb)
	_, err = a.WalReplay(ctx)
	check("walreplay", err)
	_, err = a.Metadata(ctx, "", "10")
	check("metadata", err)
	_, err = a.TargetsMetadata(ctx, "", "", "")
	check("targets metadata", err)
	_, err = a.Targets(ctx)
	check("targets", err)
	_, err = a.Rules(ctx)
	check("rules", err)
	_, err = a.Alerts(ctx)
	check("alerts", err)
	_, err = a.AlertManagers(ctx)
	check("alertmanagers", err)

	snapshot, err := a.Snapshot(ctx, false)
	check("snapshot", err)
	expect("snapshot", snapshot.Name != "", snapshot)
	check("delete", a.DeleteSeries(ctx, []string{`torches{place="hall"}`}, hour, now))
	check("clean", a.CleanTombstones(ctx))
	value, _, err = a.Query(ctx, `count(torches)`, now)
	check("query", err)
	expect("deleted", value.(model.Vector)[0].Value == 1, value)
	fmt.Println("all answers are right")
}

func check(what string, err error) {
	if err != nil {
		fmt.Printf("%s: %v\n", what, err)
		os.Exit(1)
	}
}

func expect(what string, holds bool, found any) {
	if !holds {
		fmt.Printf("%s: %v\n", what, found)
		os.Exit(1)
	}
}
