{{/* files/rules/*.yaml with thresholds filled in, alerts changed as the values say, and links added. */}}
{{- define "igpo-operator.ruleGroups" -}}
{{- $rules := .Values.monitoring.rules -}}
{{- $text := .Files.Get "files/rules/alerts.yaml" -}}
{{- $facts := dict "operatorJob" (include "igpo-operator.metricsJob" .) "operatorNamespace" .Release.Namespace -}}
{{- range $name, $value := merge $facts $rules.thresholds -}}
{{- $text = replace (printf "<%s>" $name) (toString $value) $text -}}
{{- end -}}
{{- with regexFind "<[a-zA-Z]+>" $text -}}
{{- fail (printf "monitoring.rules.thresholds lacks %s: give it a number" (trimAll "<>" .)) -}}
{{- end -}}
{{- $groups := (fromYaml $text).groups -}}
{{- $known := list -}}
{{- range $groups -}}{{- range .rules -}}{{- $known = append $known .alert -}}{{- end -}}{{- end -}}
{{- range concat $rules.disabled (keys $rules.overrides) -}}
{{- if not (has . $known) -}}
{{- fail (printf "monitoring.rules names the alert %s, which does not exist; there are %s" . (join ", " $known)) -}}
{{- end -}}
{{- end -}}
{{- $where := "?var-namespace={{ $labels.namespace }}&var-kind={{ $labels.kind }}&var-training={{ $labels.training }}" -}}
{{- range $group := $groups -}}
{{- $kept := list -}}
{{- range $rule := .rules -}}
{{- if not (has .alert $rules.disabled) -}}
{{- $_ := set .annotations "runbook_url" (printf "%s/%s.md" (trimSuffix "/" $rules.runbookUrl) .alert) -}}
{{- with $rules.grafanaUrl -}}
{{- $board := ternary "igpo-operator" (ternary "igpo-sft" "igpo-training-health" (hasPrefix "IGPOSFT" $rule.alert)) (eq $group.name "igpo.operator") -}}
{{- $_ := set $rule.annotations "dashboard_url" (printf "%s/d/%s%s" (trimSuffix "/" .) $board $where) -}}
{{- end -}}
{{- with index $rules.overrides .alert -}}
{{- with .for -}}{{- $_ := set $rule "for" . -}}{{- end -}}
{{- with .severity -}}{{- $_ := set $rule.labels "severity" . -}}{{- end -}}
{{- end -}}
{{- $_ := set . "labels" (merge .labels $rules.alertLabels) -}}
{{- $kept = append $kept . -}}
{{- end -}}
{{- end -}}
{{- $_ := set . "rules" $kept -}}
{{- end -}}
{{- $full := list -}}
{{- range concat (fromYaml (.Files.Get "files/rules/recordings.yaml")).groups $groups -}}
{{- if .rules -}}{{- $full = append $full . -}}{{- end -}}
{{- end -}}
{{- toYaml $full -}}
{{- end -}}
