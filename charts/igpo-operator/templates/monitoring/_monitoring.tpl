{{/* Refuse what the cluster cannot store. Arguments: root, the value that asks for it, API group and version, who brings it. */}}
{{- define "igpo-operator.needsApi" -}}
{{- $root := index . 0 -}}
{{- if not ($root.Capabilities.APIVersions.Has (index . 2)) -}}
{{- fail (printf "%s is true, but this cluster has no %s: install %s first or set it to false (`helm template` asks no cluster: give it --api-versions %s)" (index . 1) (index . 2) (index . 3) (index . 2)) -}}
{{- end -}}
{{- end -}}

{{- define "igpo-operator.monitoringLabels" -}}
{{ include "igpo-operator.labels" . }}
{{- with .Values.monitoring.labels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The name of the operator's targets in Prometheus: label job. */}}
{{- define "igpo-operator.metricsJob" -}}
{{ include "igpo-operator.fullname" . }}
{{- end -}}

{{/* One endpoint of the operator: its series carry the namespace of the run, which must win over the pod's own. */}}
{{- define "igpo-operator.metricsEndpoint" -}}
port: metrics
path: /metrics
honorLabels: true
interval: {{ .Values.monitoring.operator.interval }}
scrapeTimeout: {{ .Values.monitoring.operator.scrapeTimeout }}
relabelings:
  - targetLabel: job
    replacement: {{ include "igpo-operator.metricsJob" . }}
{{- end -}}
