"""Envelopes: the forms in which records come, each recognised by its content, each yielding native records.

| envelope | recognised by | module |
|---|---|---|
| newline-delimited JSON | nothing else fits | `ingest.records` |
| a JSON array of records, or one record on several lines | `[`, or a first line that is no JSON | `document` |
| Avro object container | `Obj`, 1 | `avro` |
| Parquet | `PAR1` | `parquet` |
| CSV | a first line that names the members | `table` |

A record of any of them is a native record or a CloudEvent (`cloudevents`). An envelope hands over parts; what a part
yields is the record as native JSON, its payload verbatim where it came as JSON.
"""
