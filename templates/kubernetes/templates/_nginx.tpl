{{- /*
nginx.conf of the front: the limits of nginx/nginx.conf.tmpl for what comes here, which is
the bridge's paths only. Names of Services are resolved when nginx starts: their addresses
stay while they exist. A Service stands twice in an upstream, so that a connection that one
pod does not take is tried once more, with another pod.
*/ -}}
{{- define "appliance.nginx" -}}
{{- $bridge := printf "%s-bridge.%s.svc:29328" (include "appliance.fullname" .) .Release.Namespace -}}
{{- $rocketchat := include "appliance.rocketchat" . -}}
{{- $homeserver := printf "%s-homeserver.%s.svc:8008" (include "appliance.fullname" .) .Release.Namespace -}}
daemon off;
worker_processes 2;
pid /tmp/nginx.pid;
error_log /dev/stderr warn;
events { worker_connections 4096; }
http {
    default_type application/octet-stream;
    map $uri $short_uri { "~^(?<u>.{0,200})" $u; }
    map $host $short_host { "~^(?<h>.{0,80})" $h; }
    map $request_method $short_method { "~^(?<m>.{0,16})" $m; }
    log_format main '$remote_addr $short_host "$short_method $short_uri" $status $body_bytes_sent $request_time';
    access_log /dev/stdout main;
    server_tokens off;
    keepalive_timeout 75s;
    client_header_timeout 15s;
    client_body_timeout 30s;
    send_timeout 60s;
    reset_timedout_connection on;
    large_client_header_buffers 4 8k;
    client_max_body_size 128k;
    client_body_buffer_size 128k;
    proxy_max_temp_file_size 0;
    client_body_temp_path /tmp/client_body;
    proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi;
    scgi_temp_path /tmp/scgi;
{{- range .Values.front.trustedProxies }}
    set_real_ip_from {{ . }};
{{- end }}
    real_ip_header X-Forwarded-For;
    real_ip_recursive on;
    map $remote_addr $visitor {
        "~^(?<half>[0-9a-f]*:[0-9a-f]*:[0-9a-f]*:[0-9a-f]*):" $half;
        default $remote_addr;
    }
    limit_conn_zone $visitor zone=connections:4m;
    # Large bodies are few at a time: they are in the memory of this container.
    map $http_content_length $large_body { "~^[0-9]{1,5}$" ""; default large; }
    limit_conn_zone $large_body zone=sends:64k;
    limit_req_zone $visitor zone=federation:4m rate=100r/s;
    limit_req_zone $visitor zone=invites:2m rate=5r/s;
    limit_req_zone $visitor zone=commands:2m rate=5r/s;
    limit_req_zone $visitor zone=console:2m rate=10r/s;
    limit_req_status 429;
    limit_conn_status 429;
    limit_req_log_level info;
    limit_conn_log_level info;
    upstream bridge {
        server {{ $bridge }} max_fails=0;
        server {{ $bridge }} max_fails=0;
        keepalive 16;
    }
    proxy_http_version 1.1;
    proxy_connect_timeout 2s;
    proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Real-IP $remote_addr;
    proxy_set_header X-Forwarded-Proto {{ (urlParse .Values.siteUrl).scheme }};
    proxy_set_header X-Forwarded-Host $http_host;
    proxy_set_header Connection "";
    # For the probes.
    server {
        listen 8081;
        listen [::]:8081;
        access_log off;
        location = /livez { return 200 "ok\n"; }
        location / { return 404; }
    }
    server {
        listen 8080;
        listen [::]:8080;
        # Slash commands go to the bridge, which passes on what is not its own; when it is
        # down, to Rocket.Chat directly.
{{- range list "commands.run" "commands.list" "commands.get" "method.call/slashCommand" }}
        location = /api/v1/{{ . }} {
            # What the bridge has passed on goes on, and never back.
            if ($http_x_appliance_bridge) { return 418; }
            error_page 418 502 504 = @rocketchat;
            error_page 429 = @slow-down;
            limit_req zone=commands burst=20 nodelay;
            limit_conn connections 64;
            proxy_pass http://bridge;
            proxy_read_timeout 120s;
        }
{{- end }}
        location @slow-down {
            default_type application/json;
            add_header Retry-After 2 always;
            return 429 '{"success":false,"error":"Error, too many requests. Please slow down. You must wait 2 seconds before trying this endpoint again. [error-too-many-requests]","errorType":"error-too-many-requests"}';
        }
        location @rocketchat {
            proxy_pass {{ $rocketchat }};
            proxy_connect_timeout 5s;
{{- if eq (urlParse $rocketchat).scheme "https" }}
            proxy_ssl_server_name on;
            proxy_set_header Host {{ (urlParse $rocketchat).host }};
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-Proto {{ (urlParse .Values.siteUrl).scheme }};
            proxy_set_header Connection "";
{{- end }}
            proxy_read_timeout 120s;
        }
{{- if .Values.front.console }}
        location = /_appliance { return 301 {{ .Values.siteUrl }}/_appliance/; }
        location ^~ /_appliance/ {
            limit_req zone=console burst=60 nodelay;
            limit_conn connections 64;
            proxy_pass http://bridge;
            proxy_read_timeout 60s;
            proxy_buffering off;
        }
{{- end }}
{{- if .Values.front.hints }}
        location = /hint/invite {
            limit_req zone=invites burst=20 nodelay;
            limit_conn connections 64;
            proxy_pass http://bridge;
            proxy_connect_timeout 1s;
            proxy_read_timeout 2s;
        }
{{- end }}
{{- if .Values.front.transactions }}
        # The bridge asks for the token before it reads the body.
        location ^~ /_matrix/app/v1/ {
            client_max_body_size 32m;
            client_body_buffer_size 16k;
            proxy_request_buffering off;
            limit_conn connections 64;
            proxy_pass http://bridge;
            proxy_read_timeout 60s;
        }
{{- end }}
{{- if .Values.dendrite.enabled }}
        # Federation. The address is passed on as it came, because it is signed.
        location = /.well-known/matrix/server {
            default_type application/json;
            add_header Access-Control-Allow-Origin * always;
            return 200 '{"m.server":"{{ required "dendrite.host is missing: where other Matrix servers connect, such as matrix.example.org" .Values.dendrite.host }}:443"}';
        }
        location @too-large {
            default_type application/json;
            return 413 '{"errcode":"M_TOO_LARGE","error":"The body is too large"}';
        }
        location @too-many {
            default_type application/json;
            add_header Retry-After 1 always;
            return 429 '{"errcode":"M_LIMIT_EXCEEDED","error":"Too many requests","retry_after_ms":1000}';
        }
        # An invite is also shown to the bridge, as a hint where to look.
        location ~ ^/_matrix/federation/v[12]/invite/ {
            limit_req zone=invites burst=20 nodelay;
            error_page 413 = @too-large;
            error_page 429 = @too-many;
            limit_conn connections 64;
            mirror /hint-invite;
            mirror_request_body on;
            proxy_pass http://{{ $homeserver }};
            proxy_read_timeout 600s;
        }
        location = /hint-invite {
            internal;
            proxy_pass http://bridge/hint/invite;
            proxy_set_header X-Original-URI $request_uri;
            proxy_connect_timeout 1s;
            proxy_read_timeout 2s;
        }
        location ~ ^/_matrix/federation/v1/send/ {
            client_max_body_size 10m;
            limit_req zone=federation burst=500 nodelay;
            error_page 413 = @too-large;
            error_page 429 = @too-many;
            limit_conn connections 256;
            limit_conn sends 5;
            proxy_pass http://{{ $homeserver }};
            proxy_read_timeout 600s;
        }
        location ~ ^/_matrix/(federation|key)/ {
            client_max_body_size 1m;
            limit_req zone=federation burst=500 nodelay;
            error_page 413 = @too-large;
            error_page 429 = @too-many;
            limit_conn connections 256;
            proxy_pass http://{{ $homeserver }};
            proxy_read_timeout 600s;
        }
{{- end }}
        location / { return 404; }
    }
}
{{- end -}}
