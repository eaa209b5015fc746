{{- define "appliance.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* Labels by which pods are found; they never change. */ -}}
{{- define "appliance.selector" -}}
app.kubernetes.io/name: appliance
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "appliance.labels" -}}
{{ include "appliance.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "appliance.image" -}}
{{- $image := required "image.repository is missing: the image of the bridge in your registry" .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{ $image }}@{{ .Values.image.digest }}
{{- else -}}
{{ $image }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{- define "appliance.siteHost" -}}
{{- (urlParse (required "siteUrl is missing: where people open Rocket.Chat, such as https://chat.example.org" .Values.siteUrl)).host -}}
{{- end -}}

{{- /* The name alone, without a port. */ -}}
{{- define "appliance.siteName" -}}
{{- regexReplaceAll ":[0-9]+$" (include "appliance.siteHost" .) "" -}}
{{- end -}}

{{- define "appliance.rocketchat" -}}
{{- $url := required "rocketchat.url is missing: the Service of Rocket.Chat, such as http://rocketchat-rocketchat.rocketchat.svc" .Values.rocketchat.url -}}
{{- if eq (urlParse $url).host (include "appliance.siteHost" .) -}}
{{- fail "rocketchat.url is the address of siteUrl, and what the bridge passes on would come back: give the Service of Rocket.Chat" -}}
{{- end -}}
{{- $url -}}
{{- end -}}

{{- define "appliance.homeserver" -}}
{{- if .Values.dendrite.enabled -}}
http://{{ include "appliance.fullname" . }}-homeserver.{{ .Release.Namespace }}.svc:8008
{{- else -}}
{{- required "homeserver.url is missing: the client API of the homeserver, or set dendrite.enabled" .Values.homeserver.url -}}
{{- end -}}
{{- end -}}

{{- /* The port of an address. */ -}}
{{- define "appliance.port" -}}
{{- $u := urlParse . -}}
{{- if regexMatch ":[0-9]+$" $u.host -}}
{{- regexFind "[0-9]+$" $u.host -}}
{{- else if eq $u.scheme "https" -}}
443
{{- else if eq $u.scheme "http" -}}
80
{{- else -}}
5432
{{- end -}}
{{- end -}}

{{- define "appliance.database" -}}
{{- $url := required "database.url is missing: more than one process of the bridge needs PostgreSQL, such as postgres://bridge@postgres.example.org:5432/bridge?sslmode=verify-full" .Values.database.url -}}
{{- $url -}}
{{- if contains "?" $url }}&{{ else }}?{{ end -}}
passfile=/run/secrets/bridge/pgpass
{{- if .Values.database.ca.secret }}&sslrootcert=/run/secrets/bridge/postgres_ca.crt{{ end -}}
{{- end -}}

{{- /* The keys of bridge.yaml that need a restart; a change of them rolls the pods. */ -}}
{{- define "appliance.fixed" -}}
homeserver:
  url: {{ include "appliance.homeserver" . | quote }}
  domain: {{ required "serverName is missing: the part after the colon in @alice:example.org" .Values.serverName | quote }}
  kind: {{ if .Values.dendrite.enabled }}dendrite{{ else }}{{ .Values.homeserver.kind }}{{ end }}
appservice:
  id: {{ .Values.bridge.appserviceId | quote }}
  url: "http://{{ include "appliance.fullname" . }}-bridge.{{ .Release.Namespace }}.svc:29328"
  listen: ":29328"
  bot: {{ .Values.bridge.bot | quote }}
  hs_token_file: /run/secrets/bridge/hs_token
  as_token_file: /run/secrets/bridge/as_token
rocketchat:
  url: {{ include "appliance.rocketchat" . | quote }}
  site_url: {{ .Values.siteUrl | quote }}
  user_id: {{ required "rocketchat.userId is missing: the _id of the bridge's account" .Values.rocketchat.userId | quote }}
  token_file: /run/secrets/bridge/rocketchat_token
  create_token_secret_file: /run/secrets/bridge/create_token_secret
database: {{ include "appliance.database" . | quote }}
namespace: {{ .Values.bridge.namespace }}
ghost_prefix: {{ .Values.bridge.ghostPrefix | quote }}
{{- end -}}

{{- /* What the restricted Pod Security Standard asks of a container. */ -}}
{{- define "appliance.restricted" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end -}}

{{- /*
Where pods of one kind go: arguments are the root, the kind and its values. Zones are no second
constraint: the scheduler leaves a node that lacks the label of one constraint out of all of
them, and many clusters have no zones.
*/ -}}
{{- define "appliance.placement" -}}
{{- $root := index . 0 -}}
{{- $kind := index . 1 -}}
{{- $values := index . 2 -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "appliance.selector" $root | nindent 8 }}
        app.kubernetes.io/component: {{ $kind }}
    matchLabelKeys: [pod-template-hash]
{{- if not $values.affinity }}
affinity:
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: topology.kubernetes.io/zone
          labelSelector:
            matchLabels:
              {{- include "appliance.selector" $root | nindent 14 }}
              app.kubernetes.io/component: {{ $kind }}
{{- end }}
{{- include "appliance.choice" $values }}
{{- end -}}

{{- /* What the operator says of where pods go. */ -}}
{{- define "appliance.choice" -}}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{- define "appliance.pullSecrets" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end -}}
