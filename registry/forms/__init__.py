"""Governed objects in every form: JSON, CSV, XLSX, SQL and a graph, each lossless and each read with suspicion.

A form turns `Sheets` (texts by table, row and column) into files and back; what the texts mean is said once, for all
forms, in `cells` and `assembly`. docs/forms.md has the rules.
"""
