{{/* What the schema cannot say well: each failure is a sentence that names the value, and what to set. */}}
{{- define "igpo-operator.checks" -}}
{{- $kubernetes := .Capabilities.KubeVersion.Version -}}
{{- if semverCompare "<1.30.0-0" $kubernetes -}}
{{- fail (printf "Kubernetes %s is too old: %s %s needs 1.30 or newer; upgrade the cluster, or name its true version with --kube-version where helm cannot ask it (helm template)" $kubernetes .Chart.Name .Chart.Version) -}}
{{- end -}}
{{- if eq .Values.scope "Namespaced" -}}
{{- if not .Values.watchNamespaces -}}
{{- fail "scope is Namespaced, but watchNamespaces is empty; set watchNamespaces to the namespaces to work in, e.g. --set watchNamespaces={team-a}, or scope to Cluster for all of them" -}}
{{- end -}}
{{- if and .Values.crds.enabled (not .Values.crds.allowNamespaced) -}}
{{- fail "CRDs belong to the whole cluster, and scope is Namespaced; set crds.enabled to false and install the chart igpo-crds once for all (with --take-ownership if a release of igpo-operator has made them), or set crds.allowNamespaced to true in the one release that shall own them" -}}
{{- end -}}
{{- else if .Values.watchNamespaces -}}
{{- fail (printf "watchNamespaces names %s, but scope is Cluster, which means all namespaces; set scope to Namespaced, or leave watchNamespaces empty" (join ", " .Values.watchNamespaces)) -}}
{{- end -}}
{{- range $name := list "image" "trainerImage" -}}
{{- $digest := (index $.Values $name).digest -}}
{{- if and $digest (not (regexMatch "^sha256:[0-9a-f]{64}$" $digest)) -}}
{{- fail (printf "%s.digest %q is no digest; set it to sha256: and 64 hexadecimal digits, as `docker images --digests` shows them, or leave it empty to use %s.tag" $name $digest $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
