{{- define "waitd.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* At most 52 characters: a StatefulSet's pods get labels of its name and a hash of eleven. */}}
{{- define "waitd.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains (include "waitd.name" .) .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "waitd.name" .) | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* By which a pod is found. They can never change. */}}
{{- define "waitd.selectorLabels" -}}
app.kubernetes.io/name: {{ include "waitd.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "waitd.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "waitd.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Those and others, of a list of the root and the others. A key that both have is there once. */}}
{{- define "waitd.labelsWith" -}}
{{- toYaml (mergeOverwrite (include "waitd.labels" (first .) | fromYaml) (last .)) }}
{{- end }}

{{- define "waitd.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "waitd.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "waitd.image" -}}
{{- include "waitd.imageOf" (list .Values.image .Chart.AppVersion) }}
{{- end }}

{{/* Of a list of what the values say of an image, and the tag where they name none. */}}
{{- define "waitd.imageOf" -}}
{{- with first . }}
{{- with .registry }}{{ . }}/{{ end }}{{ .repository }}
{{- if .digest }}@{{ .digest }}{{ else }}:{{ default (last $) .tag }}{{ end }}
{{- end }}
{{- end }}

{{/* What waitd's --config names. Numbers come as floating point, and are whole ones. */}}
{{- define "waitd.config" -}}
{{- if .Values.edge.enabled -}}
listen-address = unix:/run/waitd/socket/waitd.sock
{{- else -}}
listen-address = 0.0.0.0:{{ int .Values.ports.grpc }}
{{- end }}
metrics-address = 0.0.0.0:{{ int .Values.ports.metrics }}
{{- if ne .Values.config.store "memory" }}
data-dir = /var/lib/waitd/data
{{- end }}
{{- if and .Values.tls.enabled (not .Values.edge.enabled) }}
tls-cert-file = /run/waitd/tls/tls.crt
tls-key-file = /run/waitd/tls/tls.key
{{- with .Values.tls.clientCa }}
{{- if .secretName }}
tls-client-ca-file = /run/waitd/client-ca/{{ .key }}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.auth }}
auth = {{ .mode }}
{{- if eq .mode "token" }}
token-file = /run/waitd/tokens/{{ .tokens.key }}
{{- end }}
{{- if ne .mode "none" }}
acl-file = /run/waitd/acl/acl
{{- end }}
{{- end }}
{{- if and (not .Values.edge.enabled) (or (not .Values.tls.enabled) (eq .Values.auth.mode "none")) }}
# Others can reach it, and it would not start without this: what keeps them out is not waitd.
insecure = true
{{- end }}
{{- range $name, $value := .Values.config }}
{{- if kindIs "string" $value }}
{{- with $value }}
{{ kebabcase $name }} = {{ . }}
{{- end }}
{{- else if kindIs "bool" $value }}
{{ kebabcase $name }} = {{ $value }}
{{- else }}
{{ kebabcase $name }} = {{ int64 $value }}
{{- end }}
{{- end }}
{{- end }}

{{/* deploy/edge/nginx.conf with what the values say; its paths are those of the mounts. */}}
{{- define "waitd.edgeConfig" -}}
{{- $text := .Files.Get "files/edge.conf" }}
{{- $calls := int64 .Values.edge.maxCallsPerAddress }}
{{- $rate := int64 .Values.edge.maxRatePerAddress }}
{{- $changes := dict "listen [::]:7411 " (printf "listen [::]:%d " (int .Values.ports.grpc)) }}
{{- $_ := set $changes "limit_conn calls 1000;" (printf "limit_conn calls %d;" $calls) }}
{{- $_ := set $changes "rate=1000r/s;" (printf "rate=%dr/s;" $rate) }}
{{- $_ := set $changes "burst=2000 delay=200;" (printf "burst=%d delay=%d;" (mul 2 $rate) (max 1 (div $rate 5))) }}
{{- range $was, $is := $changes }}
{{- if not (contains $was $text) }}
{{- fail (printf "files/edge.conf has no `%s`" $was) }}
{{- end }}
{{- $text = replace $was $is $text }}
{{- end }}
{{- $text }}
{{- end }}

{{/* Where the services and the policy find gRPC: not every cluster looks for names in sidecars. */}}
{{- define "waitd.grpcPort" -}}
{{- .Values.edge.enabled | ternary (int .Values.ports.grpc) "grpc" }}
{{- end }}

{{/* The drain, rounded up to seconds, and 15 s: 5 s in which clients take their answers, the rest for
the store. Templates have no duration, but can move a date by one. */}}
{{- define "waitd.terminationGracePeriodSeconds" -}}
{{- $begin := toDate "2006-01-02" "2000-01-01" }}
{{- $end := mustDateModify .Values.config.drainTimeout $begin }}
{{- $rest := ne ($end | date ".000000000") ".000000000" | ternary 1 0 }}
{{- add (sub ($end | unixEpoch) ($begin | unixEpoch)) $rest 15 }}
{{- end }}

{{/* What the Pod Security Standard "restricted" asks of a pod and of a container. */}}
{{- define "waitd.podSecurityContext" -}}
runAsNonRoot: true
{{- with .Values.runAs }}
{{- if not (kindIs "invalid" .user) }}
runAsUser: {{ int64 .user }}
{{- end }}
{{- if not (kindIs "invalid" .group) }}
runAsGroup: {{ int64 .group }}
{{- end }}
{{- if not (kindIs "invalid" .fsGroup) }}
fsGroup: {{ int64 .fsGroup }}
fsGroupChangePolicy: OnRootMismatch
{{- end }}
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "waitd.securityContext" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Of a list of the root, what is asked for, liveness or readiness, and how often. */}}
{{- define "waitd.probe" -}}
{{- $root := first . }}
{{- $asked := index . 1 }}
{{- if $root.Values.tls.enabled -}}
httpGet:
  path: {{ eq $asked "liveness" | ternary "/healthz" "/readyz" }}
  port: {{ int $root.Values.ports.metrics }}
{{- else -}}
grpc:
  port: {{ int $root.Values.ports.grpc }}
  service: waitd-{{ $asked }}
{{- end }}
{{- range $name, $value := last . }}
{{ $name }}: {{ int $value }}
{{- end }}
{{- end }}

{{/* How a ServiceMonitor and a PodMonitor scrape. */}}
{{- define "waitd.endpoint" -}}
port: metrics
path: /metrics
interval: {{ .interval }}
scrapeTimeout: {{ .scrapeTimeout }}
relabelings:
  # What the rules and the dashboard expect, whatever the release is called.
  - targetLabel: job
    replacement: waitd
  {{- with .relabelings }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "waitd.tlsSecretName" -}}
{{- .Values.tls.secretName | default (printf "%s-tls" (include "waitd.fullname" .)) }}
{{- end }}

{{/* What is read again when it changes: volumes as a whole, for a subPath stays as it was. And no more
of a Secret than is needed, for that of the authorities may have their key. */}}
{{- define "waitd.accessVolumes" -}}
{{- with .Values.tls }}
{{- if .enabled }}
- name: tls
  secret:
    secretName: {{ include "waitd.tlsSecretName" $ | quote }}
    items:
      - key: tls.crt
        path: tls.crt
      - key: tls.key
        path: tls.key
{{- end }}
{{- if .clientCa.secretName }}
- name: client-ca
  secret:
    secretName: {{ .clientCa.secretName | quote }}
    items:
      - key: {{ .clientCa.key | quote }}
        path: {{ .clientCa.key | quote }}
{{- end }}
{{- end }}
{{- with .Values.auth }}
{{- if eq .mode "token" }}
- name: tokens
  secret:
    secretName: {{ .tokens.secretName | quote }}
    items:
      - key: {{ .tokens.key | quote }}
        path: {{ .tokens.key | quote }}
{{- end }}
{{- if ne .mode "none" }}
- name: acl
  configMap:
    name: {{ include "waitd.fullname" $ }}-acl
{{- end }}
{{- end }}
{{- end }}

{{/* What the gRPC ports are said to speak, a line of each. */}}
{{- define "waitd.appProtocol" -}}
{{- with .Values.service.appProtocol | default (.Values.tls.enabled | ternary "" "kubernetes.io/h2c") }}
appProtocol: {{ . }}
{{- end }}
{{- end }}

{{/* How waitctl gets in, as files of a Secret of test.credentialsSecret's form below a folder: lines of
"VARIABLE FILE". */}}
{{- define "waitd.credentials" -}}
{{- if .Values.tls.enabled }}
WAITCTL_CA_FILE ca.crt
{{- end }}
{{- if .Values.tls.clientCa.secretName }}
WAITCTL_CERT_FILE tls.crt
WAITCTL_KEY_FILE tls.key
{{- end }}
{{- if eq .Values.auth.mode "token" }}
WAITCTL_TOKEN_FILE token
{{- end }}
{{- end }}

{{/* A container of helm test, all but its command. The folder's name is what waitctl says when a file is
missing in it. */}}
{{- define "waitd.testContainer" -}}
image: {{ include "waitd.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
env:
  - name: WAITCTL_SERVER
    value: {{ include "waitd.fullname" . }}.{{ .Release.Namespace }}.svc:{{ int .Values.service.port }}
  {{- $credentials := include "waitd.credentials" . | trim }}
  {{- range $credentials | splitList "\n" | compact }}
  - name: {{ splitList " " . | first }}
    value: /run/test.credentialsSecret/{{ splitList " " . | last }}
  {{- end }}
{{- if $credentials }}
volumeMounts:
  - name: credentials
    mountPath: /run/test.credentialsSecret
    readOnly: true
{{- end }}
securityContext:
  {{- include "waitd.securityContext" . | nindent 2 }}
resources:
  requests:
    cpu: 10m
    memory: 32Mi
  limits:
    memory: 64Mi
{{- end }}
