{{/* Labels of an object: those that kustomize gives it, and Helm's. Called with name and root. */}}
{{- define "chaos-agent.labels" -}}
{{ include "chaos-agent.podLabels" .name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Labels of pods: none that changes with the chart's version, which would restart agents for nothing. */}}
{{- define "chaos-agent.podLabels" -}}
app.kubernetes.io/name: {{ . }}
app.kubernetes.io/part-of: chaos-agent
{{- end }}

{{- define "chaos-agent.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Ports of a NetworkPolicy by which the API server is reached. */}}
{{- define "chaos-agent.apiServerPorts" -}}
{{- range .Values.networkPolicy.apiServerPorts }}
- {protocol: TCP, port: {{ . }}}
{{- end }}
{{- end }}
