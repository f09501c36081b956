"""Reads metrics with Prometheus's own parser from stdin; prints the names of all samples, and the values of those without labels, as JSON."""

import json
import sys

from prometheus_client.parser import text_string_to_metric_families

names, values = {}, {}
for family in text_string_to_metric_families(sys.stdin.read()):
    assert family.documentation, family
    assert family.type in ("gauge", "counter", "histogram"), family
    for sample in family.samples:
        names[sample.name] = family.type
        if not sample.labels:
            values[sample.name] = sample.value
    if family.type == "histogram":
        buckets = [sample.value for sample in family.samples if sample.name.endswith("_bucket")]
        assert buckets == sorted(buckets) and buckets[-1] == values[family.name + "_count"], buckets
        assert family.name.endswith("_seconds"), family
print(json.dumps({"names": names, "values": values}))
