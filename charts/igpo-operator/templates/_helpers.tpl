{{- define "igpo-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "igpo-operator.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains (include "igpo-operator.name" .) .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "igpo-operator.name" .) | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "igpo-operator.selector" -}}
app.kubernetes.io/name: {{ include "igpo-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "igpo-operator.labels" -}}
{{ include "igpo-operator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "igpo-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "igpo-operator.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.create is false; set serviceAccount.name to the service account that the operator shall use" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* Name of what belongs to no namespace: two releases of one name may live in two namespaces. */}}
{{- define "igpo-operator.clusterName" -}}
{{- printf "%s-%s" (include "igpo-operator.fullname" .) .Release.Namespace -}}
{{- end -}}

{{/* "true" or "": a right on the whole cluster that is empty in the values comes with scope Cluster only. */}}
{{- define "igpo-operator.readNodes" -}}
{{- if kindIs "bool" .Values.rbac.readNodes }}{{ ternary "true" "" .Values.rbac.readNodes }}{{ else }}{{ ternary "true" "" (eq .Values.scope "Cluster") }}{{ end -}}
{{- end -}}
{{- define "igpo-operator.aggregateRoles" -}}
{{- if kindIs "bool" .Values.rbac.aggregateRoles }}{{ ternary "true" "" .Values.rbac.aggregateRoles }}{{ else }}{{ ternary "true" "" (eq .Values.scope "Cluster") }}{{ end -}}
{{- end -}}

{{/* Peers of the trainers' NetworkPolicies: the operator itself, and whom metricsFrom names. */}}
{{- define "igpo-operator.scrapers" -}}
{{- $namespace := dict "matchLabels" (dict "kubernetes.io/metadata.name" .Release.Namespace) -}}
{{- $labels := dict "matchLabels" (fromYaml (include "igpo-operator.selector" .)) -}}
{{- $operator := dict "namespaceSelector" $namespace "podSelector" $labels -}}
{{- toJson (concat (list $operator) .Values.metricsFrom) -}}
{{- end -}}

{{/* repository, then tag, then digest; without either the chart's appVersion is the tag. */}}
{{- define "igpo-operator.image" -}}
{{- $tag := .tag | default (ternary "" .appVersion (ne .digest "")) -}}
{{- .repository -}}{{- with $tag }}:{{ . }}{{ end -}}{{- with .digest }}@{{ . }}{{ end -}}
{{- end -}}

{{/* What the operator may do in a namespace that it watches. No Secrets, no logs. */}}
{{- define "igpo-operator.rules" -}}
- apiGroups: [igpo.dev]
  resources: [igpotrainings, lengthalignedsfts]
  verbs: [get, list, watch]
- apiGroups: [igpo.dev]
  resources: [igpotrainings/status, lengthalignedsfts/status]
  verbs: [update]
- apiGroups: [igpo.dev] # owner references that block deletion, where an admission plugin guards them
  resources: [igpotrainings/finalizers, lengthalignedsfts/finalizers]
  verbs: [update]
- apiGroups: [""]
  resources: [pods]
  verbs: [create, delete, get, list, patch, watch]
- apiGroups: [""]
  resources: [configmaps, services]
  verbs: [create, delete, get, patch]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [create, delete, get, patch]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [create, get]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create, delete, get, list, update] # delete: whoever makes an object depend on another needs it, on some clusters
{{- end -}}
