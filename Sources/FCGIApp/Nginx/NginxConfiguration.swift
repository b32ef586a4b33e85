/// What nginx needs to know, and the files that say it to nginx.
///
/// Written for nginx 1.22 and later. Order of the phases: limits (by address and by the key's public id)
/// come first, then the authentication subrequest, then a second location that knows the authenticated id.
public struct NginxConfiguration: Sendable, Equatable {
    /// Serves the API in clear on loopback (development), or only redirects and health (production).
    public var isDevelopment = false
    /// User of the workers; used where the master runs as root.
    public var user = "www-data"
    /// Address of the HTTPS listener.
    public var host = "0.0.0.0"
    /// HTTPS port.
    public var httpsPort = 443
    /// Plain HTTP port; 0 = none.
    public var httpPort = 80
    /// Host name, `_` for any.
    public var serverName = "_"
    /// Certificate chain, PEM.
    public var certificate = "/etc/torchgate/tls/fullchain.pem"
    /// Private key, PEM.
    public var certificateKey = "/etc/torchgate/tls/key.pem"
    /// The server's FastCGI socket.
    public var fastCGISocket = "/run/torchgate/fcgi.sock"
    /// The server's WebSocket socket.
    public var webSocketSocket = "/run/torchgate/ws.sock"
    /// Folder of pid, temporary files and, in development, logs.
    public var runDirectory = "/run/torchgate"
    /// Access log.
    public var accessLog = "/var/log/nginx/torchgate.json"
    /// Error log, or `stderr`.
    public var errorLog = "/var/log/nginx/error.log"
    /// Folder for request bodies, best on tmpfs.
    public var bodyDirectory = "/run/torchgate/nginx-body"
    /// Files for ACME challenges.
    public var acmeDirectory = "/var/www/acme"
    /// Bytes of a request body.
    public var bodyBytes = 64 << 20
    /// Requests a second of one address, and how many more pass at once.
    public var addressRate = 200, addressBurst = 800
    /// Requests a second of one key, and how many more pass at once.
    public var keyRate = 100, keyBurst = 400
    /// Connections of one key, and of all, at once.
    public var keyConnections = 512, totalConnections = 2048
    /// Seconds without a byte from the server after which nginx gives up; above the server's own deadline.
    public var readTimeout = 620
    /// Seconds that the check of a key may take; above the time that a server which restarts lets its last
    /// requests have, while new ones wait for the next.
    public var authTimeout = 65

    /// The production defaults.
    public init() {}

    /// The files, by name, to be written into one folder.
    ///
    /// `folder`: where they will lie.
    public func render(folder: String) -> [(name: String, content: String)] {
        [("nginx.conf", main(folder: folder)), ("fcgi_params", Self.parameters)]
    }

    /// CGI parameters of every request.
    ///
    /// No client header can set the ones without HTTP_.
    private static let parameters = """
        fastcgi_param QUERY_STRING $query_string;
        fastcgi_param REQUEST_METHOD $request_method;
        fastcgi_param REMOTE_ADDR $remote_addr;
        fastcgi_param HTTPS $https if_not_empty;
        fastcgi_param SERVER_PROTOCOL $server_protocol;
        fastcgi_param HTTP_X_REQUEST_ID $rid;
        fastcgi_param TG_LOOPBACK $tg_loopback;
        fastcgi_param HTTP_PROXY "";

        """

    private func main(folder: String) -> String {
        """
        # Rendered by `torchgate nginx render`; change the settings, not this file.
        user \(user);
        worker_processes auto;
        worker_rlimit_nofile 65536;
        worker_shutdown_timeout 11m;
        daemon off;
        error_log \(Self.word(errorLog)) warn;
        pid \(runFile("nginx.pid"));
        # Two connections a stream.
        events { worker_connections 16384; }

        http {
          server_tokens off;
          default_type application/octet-stream;
          gzip off;
          tcp_nodelay on;
          reset_timedout_connection on;
          merge_slashes off;
          # Prompts stay off the disk: bodies are spooled here, on tmpfs.
          client_body_temp_path \(Self.word(bodyDirectory)) 1;
          fastcgi_temp_path \(runFile("nginx-fastcgi"));
          proxy_temp_path \(runFile("nginx-proxy"));
          scgi_temp_path \(runFile("nginx-scgi"));
          uwsgi_temp_path \(runFile("nginx-uwsgi"));
          # The path of a WebSocket is its credential; a key in another path is a client's mistake.
          map $uri $logged_uri { "~^/ws/" "/ws/-"; "~sk-tg-" "-"; default $uri; }
          log_format torchgate escape=json '{"t":"$time_iso8601","rid":"$rid","ip":"$remote_addr","key":"$key_id",'
            '"m":"$request_method","u":"$logged_uri","st":$status,"ust":"$upstream_status",'
            '"ttfb":"$upstream_header_time","rt":$request_time,"out":$body_bytes_sent,'
            '"lr":"$limit_req_status","lc":"$limit_conn_status"}';
          access_log \(Self.word(accessLog)) torchgate;

          upstream torchgate_fcgi { server \(Self.word("unix:\(fastCGISocket)")); }
          # What all keys have together is the server's limit, not the caller's: beyond it 502, which becomes 503.
          upstream torchgate_app {
            zone torchgate_app 64k;
            server \(Self.word("unix:\(fastCGISocket)")) max_conns=\(totalConnections);
          }
          upstream torchgate_ws { server \(Self.word("unix:\(webSocketSocket)")); }

          map $http_upgrade $connection_upgrade { default upgrade; "" ""; }
          # The client's request id if it is a plain word, else nginx's own.
          map $http_x_request_id $rid {
            "~^[A-Za-z0-9._-]{1,128}$" $http_x_request_id;
            default $request_id;
          }
          geo $tg_loopback { default ""; 127.0.0.0/8 "1"; ::1/128 "1"; }
          # Only the public id of a key enters shared memory.
          map $http_authorization $kid_bearer {
            "~*^Bearer +sk-tg-(?<kb>[A-Za-z0-9]{12})-[A-Za-z0-9]{38}$" $kb;
            default "";
          }
          map $http_x_api_key $kid_plain {
            "~^sk-tg-(?<kp>[A-Za-z0-9]{12})-[A-Za-z0-9]{38}$" $kp;
            default "";
          }
          map $http_authorization $kid { "" $kid_plain; default $kid_bearer; }
          map $kid $shown_key { "" "****"; default "sk-tg-$kid-****"; }
          map "$http_authorization$http_x_api_key" $has_credential { "" ""; default "1"; }
          limit_req_zone $binary_remote_addr zone=address:10m rate=\(addressRate)r/s;
          limit_req_zone $kid zone=key:10m rate=\(keyRate)r/s;
          limit_conn_zone $key_id zone=key_connections:10m;
          limit_req_status 429;
          limit_conn_status 429;
          limit_req_log_level warn;

          ssl_protocols TLSv1.2 TLSv1.3;
          ssl_prefer_server_ciphers off;
          ssl_session_cache shared:torchgate:10m;
          ssl_session_timeout 1d;
          ssl_session_tickets off;
          ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305;

          server {
            listen \(listener(httpsPort)) ssl http2;
            server_name \(serverName);
            ssl_certificate \(Self.word(certificate));
            ssl_certificate_key \(Self.word(certificateKey));
        \(api(folder: folder, isSecure: true))
          }
        \(plain(folder: folder))
        }

        """
    }

    /// The plain HTTP server.
    private func plain(folder: String) -> String {
        guard httpPort > 0 else { return "" }
        if isDevelopment {
            return """
                  server {
                    listen 127.0.0.1:\(httpPort);
                    server_name \(serverName);
                \(api(folder: folder, isSecure: false))
                  }
                """
        }
        return """
              server {
                listen \(listener(httpPort));
                server_name \(serverName);
            \(common)

                location /.well-known/acme-challenge/ { root \(Self.word(acmeDirectory)); }

            \(open(["/health", "/livez", "/readyz"], folder: folder))

                # No body is read here, so that a request of any size hears that it must use HTTPS.
                location / {
                  client_max_body_size 0;
                  add_header x-request-id $rid always;
                  if ($has_credential) { return 403 '\(Self.useHTTPS)'; }
                  if ($request_method !~ ^(GET|HEAD)$) { return 403 '\(Self.useHTTPS)'; }
                  default_type application/json;
                  return 308 https://\(publicAuthority)$request_uri;
                }

            \(NginxError.locations(isSecure: false))
              }
            """
    }

    private static let useHTTPS = NginxError.json(
        "use https: this server takes credentials and requests over HTTPS only",
        type: "invalid_request_error",
        code: "https_required"
    )

    /// Where a redirect leads: the name that was set, else the client's for us.
    private var publicAuthority: String {
        let name = serverName == "_" ? "$host" : serverName
        return httpsPort == 443 ? name : "\(name):\(httpsPort)"
    }

    /// What `listen` takes; the IPv6 wildcard takes IPv4 too.
    private func listener(_ port: Int) -> String {
        guard host.contains(":") else { return "\(host):\(port)" }
        return "[\(host)]:\(port)\(host == "::" ? " ipv6only=off" : "")"
    }

    private func runFile(_ name: String) -> String { Self.word("\(runDirectory)/\(name)") }

    /// A word of nginx's, in quotes where it needs them; `$` has no spelling, so that it may not occur.
    private static func word(_ text: String) -> String {
        let plain = text.utf8.allSatisfy { byte in
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
            default: "/._-:@+,=".utf8.contains(byte)
            }
        }
        if plain, !text.isEmpty { return text }
        return "\"\(text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\""))\""
    }

    /// Size of a body where none is wanted: anybody may send one there, so it must not reach the spool.
    private static let noBody = "1k"

    /// Pages that need no key.
    private func open(_ paths: [String], folder: String) -> String {
        paths.map { path in
            """
                location = \(path) {
                  limit_req zone=address burst=\(addressBurst) nodelay;
                  client_max_body_size \(Self.noBody);
                  include \(Self.word("\(folder)/fcgi_params"));
                  fastcgi_param DOCUMENT_URI \(path);
                  fastcgi_pass_request_headers off;
                  fastcgi_pass_request_body off;
                  fastcgi_read_timeout 3s;
                  fastcgi_pass torchgate_fcgi;
                }
            """
        }.joined(separator: "\n")
    }

    /// What all servers say first.
    private var common: String {
        """
            set $key_id "";
            keepalive_timeout 75s;
            client_body_buffer_size 256k;
            client_header_timeout 15s;
            client_body_timeout 30s;
            send_timeout 60s;
            large_client_header_buffers 4 16k;
            underscores_in_headers off;
            fastcgi_buffering off;
            fastcgi_request_buffering on;
            fastcgi_ignore_client_abort off;
            fastcgi_buffer_size 16k;
            fastcgi_buffers 8 16k;
            fastcgi_connect_timeout 2s;
            fastcgi_send_timeout 60s;
            fastcgi_read_timeout \(readTimeout)s;
            fastcgi_next_upstream off;
            fastcgi_intercept_errors off;
        \(NginxError.directives)
        """
    }

    private func api(folder: String, isSecure: Bool) -> String {
        """
        \(common)
            http2_max_concurrent_streams 1024;
            client_max_body_size \(bodyBytes);

            # An answer but 2xx, 401 and 403 is a 500 to nginx, which @e503 answers.
            location = /_auth {
              internal;
              include \(Self.word("\(folder)/fcgi_params"));
              fastcgi_param DOCUMENT_URI /_auth;
              fastcgi_param HTTP_AUTHORIZATION $http_authorization;
              fastcgi_param HTTP_X_API_KEY $http_x_api_key;
              fastcgi_pass_request_headers off;
              fastcgi_pass_request_body off;
              fastcgi_read_timeout \(authTimeout)s;
              fastcgi_pass torchgate_fcgi;
            }

        \(open(["/", "/health", "/livez", "/readyz"], folder: folder))

            # Stage 1: floods are stopped before a key is looked at, then the key is checked.
            location / {
              limit_req zone=address burst=\(addressBurst) nodelay;
              limit_req zone=key burst=\(keyBurst) nodelay;
              auth_request /_auth;
              auth_request_set $key_id $upstream_http_x_key_id;
              root /var/empty;
              try_files /- @app;
            }

            # Open to this machine, where a scraper has no key; from elsewhere the server wants an admin's.
            location = /metrics {
              limit_req zone=address burst=\(addressBurst) nodelay;
              limit_req zone=key burst=\(keyBurst) nodelay;
              client_max_body_size \(Self.noBody);
              satisfy any;
              allow 127.0.0.0/8;
              allow ::1;
              deny all;
              auth_request /_auth;
              auth_request_set $key_id $upstream_http_x_key_id;
              root /var/empty;
              try_files /- @app;
            }

            # Stage 2: the key's id is known, and only the id goes on.
            location @app {
              limit_conn key_connections \(keyConnections);
              include \(Self.word("\(folder)/fcgi_params"));
              fastcgi_param DOCUMENT_URI $document_uri;
              fastcgi_param CONTENT_TYPE $content_type;
              fastcgi_param CONTENT_LENGTH $content_length;
              fastcgi_param LLM_KEY_ID $key_id;
              fastcgi_param HTTP_LAST_EVENT_ID $http_last_event_id;
              fastcgi_pass_request_headers off;
              fastcgi_pass torchgate_app;
            }

            # The id in the path, made by the server, is the credential.
            location /ws/ {
              limit_req zone=address burst=\(addressBurst) nodelay;
              client_max_body_size \(Self.noBody);
              proxy_pass_request_body off;
              proxy_http_version 1.1;
              proxy_set_header Upgrade $http_upgrade;
              proxy_set_header Connection $connection_upgrade;
              proxy_set_header Host $host;
              proxy_set_header X-Request-Id $rid;
              proxy_set_header Authorization "";
              proxy_set_header Content-Length "";
              proxy_buffering off;
              proxy_read_timeout 120s;
              proxy_send_timeout 60s;
              proxy_pass http://torchgate_ws;
            }

        \(NginxError.locations(isSecure: isSecure))
        """
    }
}
