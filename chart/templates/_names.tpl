{{/* Labels of an object: those that kustomize gives it, and Helm's. Called with name and root. */}}
{{- define "chaos-agent.labels" -}}
{{ include "chaos-agent.podLabels" .name }}
{{ include "chaos-agent.helmLabels" .root }}
{{- end }}

{{- define "chaos-agent.helmLabels" -}}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
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

{{/* Options of agent and controller for metrics and health. */}}
{{- define "chaos-agent.monitoringArgs" -}}
- {{ printf "--metrics-address=%s:9464" .Values.monitoring.address | quote }}
- {{ printf "--health-address=%s:9465" .Values.monitoring.address | quote }}
{{- end }}

{{/* Ports of a container, and how the kubelet asks for its health. */}}
{{- define "chaos-agent.monitoringPorts" -}}
ports:
  - {name: metrics, containerPort: 9464}
  - {name: health, containerPort: 9465}
startupProbe:
  httpGet: {path: /healthz, port: health}
  # An agent tries every hook of the kernel when it starts: five minutes on the slowest of nodes.
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /healthz, port: health}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe:
  httpGet: {path: /readyz, port: health}
  periodSeconds: 10
  timeoutSeconds: 5
{{- end }}

{{/* Ingress of a NetworkPolicy: whoever scrapes. The kubelet, which asks for health, is let through by networks. */}}
{{- define "chaos-agent.monitoringIngress" -}}
ingress:
  - ports:
      - {protocol: TCP, port: 9464}
    {{- with .Values.monitoring.from }}
    from:
      {{- toYaml . | nindent 6 }}
    {{- end }}
{{- end }}
