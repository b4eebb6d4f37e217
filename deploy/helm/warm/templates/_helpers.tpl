{{- define "warm.fullname" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "warm.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "warm.labels" -}}
{{ include "warm.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "warm.image" -}}
{{- $tag := .Values.image.tag | default (printf "%s%s" .Chart.AppVersion (ternary "-cuda" "" .Values.gpu.enabled)) -}}
{{ .Values.image.repository }}:{{ $tag }}
{{- end }}

{{- define "warm.kind" -}}
{{ ternary "StatefulSet" "Deployment" .Values.persistence.enabled }}
{{- end }}

{{- define "warm.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "warm.fullname" .) }}
{{- end }}

{{- define "warm.secret" -}}
{{ .Values.keys.existing.secret | default (printf "%s-keys" (include "warm.fullname" .)) }}
{{- end }}

{{- /* The entries of the Secret that there are, each in brackets: [clients][metrics]. */ -}}
{{- define "warm.keys" -}}
{{- if .Values.keys.existing.secret }}
  {{- range .Values.keys.existing.entries }}[{{ . }}]{{ end }}
{{- else }}
  {{- if .Values.keys.clients }}[clients]{{ end }}
  {{- if .Values.keys.admins }}[admins]{{ end }}
  {{- if .Values.keys.metrics }}[metrics]{{ end }}
{{- end }}
{{- end }}

{{- /* The configuration that warm reads. */ -}}
{{- define "warm.config" -}}
{{- $keys := include "warm.keys" . -}}
{{- $c := deepCopy .Values.config -}}
{{- $_ := set $c "addr" "0.0.0.0:8080" -}}
{{- $_ := set $c "ops_addr" "0.0.0.0:8081" -}}
{{- $_ := set $c "device" (ternary (ternary "cuda" "cuda:all" (eq (int .Values.gpu.count) 1)) "cpu" .Values.gpu.enabled) -}}
{{- if contains "[clients]" $keys }}{{ $_ := set $c "key_file" "/etc/warm-keys/clients" }}{{ end -}}
{{- if contains "[admins]" $keys }}{{ $_ := set $c "admin_key_file" "/etc/warm-keys/admins" }}{{ end -}}
{{- if and .Values.checkpoints.claim (not (get $c "model_root")) }}{{ $_ := set $c "model_root" "/models" }}{{ end -}}
{{- if .Values.persistence.enabled }}{{ $_ := set $c "state" "/var/lib/warm/state.json" }}{{ end -}}
{{- if .Values.models }}{{ $_ := set $c "models" .Values.models }}
{{- else if not (get $c "watch") }}{{ $_ := set $c "models" (dict "embedded" (dict "members" (list (dict "path" "embedded:")))) }}{{ end -}}
{{ toYaml $c }}
{{- end }}
