// Sends metrics by the OTLP exporter of OpenTelemetry's SDK, as a program that is instrumented with it does.
package main

import (
	"context"
	"fmt"
	"os"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/metric"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
)

func main() {
	ctx := context.Background()
	exporter, err := otlpmetrichttp.New(ctx,
		otlpmetrichttp.WithEndpointURL(os.Args[1]+"/api/v1/otlp/v1/metrics"),
		otlpmetrichttp.WithCompression(otlpmetrichttp.GzipCompression))
	check("exporter", err)
	provider := sdk.NewMeterProvider(
		sdk.WithReader(sdk.NewPeriodicReader(exporter)),
		sdk.WithResource(resource.NewSchemaless(
			attribute.String("service.namespace", "castle"),
			attribute.String("service.name", "torches"),
			attribute.String("service.instance.id", "gate"),
			attribute.String("host.name", "keep"))),
		sdk.WithView(sdk.NewView(
			sdk.Instrument{Name: "torch.heat"},
			sdk.Stream{Aggregation: sdk.AggregationBase2ExponentialHistogram{MaxSize: 160, MaxScale: 20}})))
	meter := provider.Meter("torches")

	lit, err := meter.Int64Counter("torches.lit", metric.WithDescription("Torches lit."))
	check("counter", err)
	hall := metric.WithAttributes(attribute.String("place", "hall"))
	lit.Add(ctx, 3, hall)
	lit.Add(ctx, 4, hall)
	burning, err := meter.Float64Gauge("torches.burning")
	check("gauge", err)
	burning.Record(ctx, 2.5, hall)
	duration, err := meter.Float64Histogram("torch.duration", metric.WithUnit("s"), metric.WithExplicitBucketBoundaries(1, 10))
	check("histogram", err)
	heat, err := meter.Float64Histogram("torch.heat")
	check("exponential histogram", err)
	for _, value := range []float64{0.5, 5, 50, 7} {
		duration.Record(ctx, value, hall)
		heat.Record(ctx, value, hall)
	}
	// A refusal, also of a part, is an error here.
	check("export", provider.Shutdown(ctx))
}

func check(what string, err error) {
	if err != nil {
		fmt.Println(what+":", err)
		os.Exit(1)
	}
}
