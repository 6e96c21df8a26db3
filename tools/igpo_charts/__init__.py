"""What is generated of a Helm chart: values.schema.json and README.md, both from its commented values.yaml."""
