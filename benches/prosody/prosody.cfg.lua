-- A Prosody for the benchmarks: one port of loopback, for clients with direct TLS, for HTTP or for proxy65; what a server of clients and rooms
-- has; and Prosody's defaults but for what is said here. The harness fills in the variables.

network_backend = ENV_BENCH_BACKEND
network_settings = {
	-- All clients come at once: those that find the queue of 128 full would come again after a second, to whatever server.
	tcp_backlog = 4096;
	max_connections = ENV_BENCH_MAX_CONNECTIONS and tonumber(ENV_BENCH_MAX_CONNECTIONS) or nil;
	max_newcomers = ENV_BENCH_MAX_CONNECTIONS and tonumber(ENV_BENCH_MAX_CONNECTIONS) or nil;
	max_waiting_handshakes = ENV_BENCH_MAX_CONNECTIONS and tonumber(ENV_BENCH_MAX_CONNECTIONS) or nil;
}

gc = ENV_BENCH_GC_THRESHOLD and { mode = "incremental"; threshold = tonumber(ENV_BENCH_GC_THRESHOLD); speed = 500 } or nil

data_path = ENV_BENCH_DATA
pidfile = ENV_BENCH_DATA .. "/prosody.pid"
plugin_paths = { ENV_BENCH_MODULES }
bench_port = ENV_BENCH_PORT
run_as_root = true
certificates = ENV_BENCH_DATA
log = { warn = ENV_BENCH_DATA .. "/prosody.log" }

interfaces = { "127.0.0.1" }
c2s_ports = {}
s2s_ports = {}
http_ports = {}
https_ports = {}
c2s_direct_tls_ports = {}
proxy65_ports = {}
if ENV_BENCH_SERVICE == "http" then
	http_ports = { tonumber(ENV_BENCH_PORT) }
elseif ENV_BENCH_SERVICE == "https" then
	https_ports = { tonumber(ENV_BENCH_PORT) }
elseif ENV_BENCH_SERVICE == "proxy65" then
	proxy65_ports = { tonumber(ENV_BENCH_PORT) }
else
	c2s_direct_tls_ports = { tonumber(ENV_BENCH_PORT) }
end
https_ssl = { certificate = ENV_BENCH_CERTIFICATE .. ".crt"; key = ENV_BENCH_CERTIFICATE .. ".key" }
http_files_dir = ENV_BENCH_FILES
c2s_direct_tls_ssl = { certificate = ENV_BENCH_CERTIFICATE .. ".crt"; key = ENV_BENCH_CERTIFICATE .. ".key" }

modules_enabled = { "roster"; "saslauth"; "tls"; "disco"; "ping"; "bench_ready"; (ENV_BENCH_SERVICE == "http" or ENV_BENCH_SERVICE == "https") and "http_files" or nil }
modules_disabled = { "s2s" }
authentication = "internal_hashed"

VirtualHost "localhost"
	ssl = c2s_direct_tls_ssl

Component "rooms.localhost" "muc"
	-- Members are not told of each other: 500 that join would be a quarter of a million stanzas before anything is measured.
	muc_room_default_presence_broadcast = { visitor = false; participant = false; moderator = false }
	muc_room_locking = false

if ENV_BENCH_SERVICE == "http" then
	Component "files.localhost" "http_file_share"
		http_file_share_size_limit = 100 * 1024 * 1024
		http_file_share_secret = "secret of the benches"
elseif ENV_BENCH_SERVICE == "proxy65" then
	Component "proxy.localhost" "proxy65"
end
