---@meta
-- Types of net.server for the Lua language server; nothing loads this file. docs/lua-api.md explains all of it, and
-- crates/lua/spec/api_spec.lua holds both against the code.

---What a connection tells its user. All are optional and looked up when they are called.
---@class trochee.Listeners
---@field onconnect? fun(conn: trochee.Handle) it is established
---@field onincoming? fun(conn: trochee.Handle, data: string, err?: "timeout"|"closed") err: "timeout", no more for now; "closed", no more at all
---@field ondisconnect? fun(conn: trochee.Handle, err?: string) once, at the end; no err: closed here
---@field onreadtimeout? fun(conn: trochee.Handle): boolean? nothing came for read_timeout; true keeps the connection
---@field onpredrain? fun(conn: trochee.Handle) what is queued is about to be sent; what is written now goes with it
---@field ondrain? fun(conn: trochee.Handle) all that was queued is sent
---@field onstatus? fun(conn: trochee.Handle, status: "ssl-handshake-complete")
---@field onstarttls? fun(conn: trochee.Handle) TLS is about to begin
---@field ondetach? fun(conn: trochee.Handle) other listeners take over
---@field onattach? fun(conn: trochee.Handle, data: any) these listeners have taken over
---@field onerror? fun(err: any): any message handler for errors in the callbacks

---A connection or listener. Fields of your own may be added, and methods replaced, for each handle.
---@class trochee.Handle
---@field id string "conn", "serv" or "fdwatch" and a number; no two are alike
---@field created number when, in seconds since 1970
---@field listeners trochee.Listeners
---@field extra? table what addclient or wrapclient was given
---@field servername? string
---@field read_size? integer|"*a"
---@field peername? string
---@field peerport? integer
---@field sockname? string
---@field sockport? integer
---@field hosts? table listeners: what listen was given as sni_hosts
---@field starttls false
---@field log fun(level: string, format: string, ...)
local handle = {};

---@param data string
---@return integer|false|nil taken length; false: the peer lags too far behind and is disconnected; nil: it is over
function handle:write(data) end
---@param data string
---@return integer|false|nil taken
function handle:send(data) end
---Sends what is queued, then ends it.
function handle:close() end
---Ends it at once; ondisconnect is not called.
function handle:destroy() end
---@return true?, string? err
function handle:pause() end
---@return true?, string? err
function handle:resume() end
---@param seconds number|false
function handle:pausefor(seconds) end
function handle:pause_writes() end
function handle:resume_writes() end
---@param bytes_per_second number 0 for no limit
function handle:setlimit(bytes_per_second) end
---@param size integer|"*a"|nil
function handle:set_mode(size) end
---@param listeners trochee.Listeners
---@param data any for onattach
function handle:setlistener(listeners, data) end
---@param seconds number|false|nil nil for the configured time
function handle:setreadtimeout(seconds) end
---@param seconds number|false|nil nil for the configured time
function handle:setwritetimeout(seconds) end
---@param has? boolean|"request" true: it has authenticated; false: it has to, and on a listener all that it accepts; "request": it has a request to make; nil: nobody tells
---@return boolean found
function handle:set_authenticated(has) end
---@param name "keepalive"|"tcp-nodelay"|"tcp-keepidle"|"tcp-keepintvl"|"tcp-keepcnt"|"tcp-user-timeout" the last one is not LuaSocket's
---@param value boolean|integer
---@return 1|false ok, string? err
function handle:setoption(name, value) end
---@param r? boolean read
---@param w? boolean true: call onpredrain and ondrain
---@return true?, string? err
function handle:set(r, w) end
---@return integer fd -1 after the end
function handle:getfd() end
---@return trochee.Socket? socket nil after the end
function handle:socket() end
---@return trochee.Handle listener that accepted it, else itself
function handle:server() end
---@return string
function handle:ip() end
---@return integer
function handle:port() end
---@return integer
function handle:clientport() end
---@return integer
function handle:serverport() end
---@return trochee.TcpInfo? info nil for other sockets, and after the end
function handle:tcp_info() end
---@return trochee.ProxyHeader? header nil where no proxy spoke for the client, and after the end
function handle:proxy_header() end
---@return true? tls
function handle:ssl() end
---@param ctx? table|userdata nil for that of the listener
---@param name? string of the peer
function handle:starttls(ctx, name) end
---Stops reading until starttls().
function handle:block_reads() end
---@return table|userdata|nil ctx
function handle:sslctx() end
---@param ctx table|userdata for the connections that come from now on
function handle:set_sslctx(ctx) end
---@return table?, string? err
function handle:ssl_info() end
---@return userdata? certificate, string? err LuaSec's
function handle:ssl_peercertificate() end
---@return boolean? valid, table|string|nil errors lists of texts by depth + 1
function handle:ssl_peerverification() end
---@return nil there is no tls-unique
function handle:ssl_peerfinished() end
---@param label string
---@param length integer
---@param context? string
---@return string?, string? err
function handle:ssl_exportkeyingmaterial(label, length, context) end
---@return userdata? certificate, string? err our own
function handle:getlocalcertificate() end
---@param r? boolean as set
---@param w? boolean
function handle:add(r, w) end
function handle:del() end
---@param r boolean
---@param w boolean
function handle:setflags(r, w) end
---Asks the system again for peername, peerport, sockname and sockport.
function handle:updatenames() end
---Does nothing; net.adns calls it.
function handle:set_send() end
---Calls a callback of the listeners by its name without "on".
---@param what string
function handle:on(what, ...) end
---@param data string
---@param err? string
function handle:onincoming(data, err) end
function handle:ondrain() end
---@param format string
function handle:debug(format, ...) end
---@param format string
function handle:error(format, ...) end
---Logs only if the setting verbose is on.
---@param format string
function handle:noise(format, ...) end

---What conn:socket() gives: the part of LuaSocket's object that makes sense here, and with TLS LuaSec's methods.
---@class trochee.Socket
local socket = {};

---@return string? address, integer|string|nil port, string? family
function socket:getpeername() end
---@return string? address, integer|string|nil port, string? family
function socket:getsockname() end
---@return integer
function socket:getfd() end
---@return 1?, string? err
function socket:setoption(name, value) end
---@param name string
---@return boolean|number|table|string|nil value, string? err
function socket:getoption(name) end
---@return 1
function socket:settimeout() end
---@return false
function socket:dirty() end
---@return 1
function socket:close() end
---@param field? string
---@return any
function socket:info(field) end
---@return nil
function socket:compression() end
---@return string?
function socket:getsniname() end
---@return string?
function socket:getalpn() end
---@param n? integer
---@return userdata?, string? err
function socket:getpeercertificate(n) end
---@return userdata[]?, string? err
function socket:getpeerchain() end
---@return userdata?, string? err
function socket:getlocalcertificate() end
---@return boolean valid, table|string|nil errors
function socket:getpeerverification() end
---@return nil
function socket:getpeerfinished() end
---@return nil
function socket:getfinished() end
---@return string?, string? err
function socket:exportkeyingmaterial(label, length, context) end
---@return boolean complete, string? err
function socket:dohandshake() end
---@return "nothing"
function socket:want() end

---What TCP knows of a connection; times are in seconds.
---@class trochee.TcpInfo
---@field unacknowledged integer bytes that the system has, and that the peer's system has not acknowledged
---@field unacknowledged_for number for how long they have waited; once something was sent again, an upper bound
---@field attempts integer how often the oldest of them were sent again
---@field retransmits integer segments that were sent again, since the beginning
---@field since_acknowledged number
---@field since_sent number
---@field since_received number
---@field round_trip number

---What a proxy has told of its client (PROXY protocol).
---@class trochee.ProxyHeader
---@field proxy_ip? string the proxy's own address
---@field proxy_port? integer
---@field source_ip? string the client's address; nil where the proxy spoke for itself (a health check) or did not know
---@field source_port? integer
---@field destination_ip? string what the client has connected to
---@field destination_port? integer
---@field authority? string the host that the client asked for, with TLS its server name
---@field alpn? string
---@field unique_id? string by what the proxy knows the connection
---@field tls? { version?: string, cipher?: string, has_certificate: boolean, is_verified: boolean, common_name?: string, signature_algorithm?: string, key_algorithm?: string } of the client's TLS, where it ended at the proxy
---@field tlvs table<integer, string> all that was told beside the addresses, by type

---@class trochee.ListenConfig
---@field read_size? integer|"*a"
---@field tls_ctx? table|userdata
---@field tls_direct? boolean TLS from the first byte on
---@field sni_hosts? table<string, table|userdata> contexts by the name that a client asks for

---@class trochee.Timer

---@class trochee.TimerModule
---@field add_task fun(delay: number, callback: fun(now: number, id: trochee.Timer, param: any): number?, param: any): trochee.Timer
---@field stop fun(id: trochee.Timer)
---@field reschedule fun(id: trochee.Timer, delay: number)
---@field to_absolute_time fun(monotonic: number): number

---@class trochee.Server
---@field timer trochee.TimerModule
---@field event table the letters for addevent
local server = {};

---@param address string "*", "::", an address or a name
---@param port integer 0 for a free one
---@param listeners trochee.Listeners
---@param config? trochee.ListenConfig
---@return trochee.Handle?, string? err
function server.listen(address, port, listeners, config) end
---@return trochee.Handle?, string? err
function server.addserver(address, port, listeners, read_size, tls_ctx) end
---@param socket table a LuaSocket object that listens; it is taken over
---@return trochee.Handle?, string? err
function server.wrapserver(socket, address, port, listeners, config) end
---@param typ? "tcp"|"tcp4"|"tcp6"|"udp"|"udp4"|"udp6" nil: TCP, and address must be an IP address
---@return trochee.Handle?, table|string socket_or_err
function server.addclient(address, port, listeners, read_size, tls_ctx, typ, extra) end
---@param socket table a LuaSocket object, connected or connecting; it is taken over
---@return trochee.Handle?, string? err
function server.wrapclient(socket, address, port, listeners, read_size, tls_ctx, extra) end
---@param fd integer|table a number or an object with getfd; it stays yours
---@param onreadable? fun(watch: trochee.Handle)
---@param onwritable? fun(watch: trochee.Handle)
---@return trochee.Handle?, string? err
function server.watchfd(fd, onreadable, onwritable) end
---@param callback? fun(watch: table, signal: integer) nil gives the signal back
---@return table?, string? err
function server.hook_signal(signal, callback) end
---@param from trochee.Handle
---@param to trochee.Handle
function server.link(from, to, read_size) end
---@param fd integer|table
---@param mode "r"|"w"|"rw"
---@param callback fun(handle: trochee.Handle): any -1 stops, something true goes on
---@return trochee.Handle?, string? err
function server.addevent(fd, mode, callback) end
---@return trochee.Timer
function server.add_task(delay, callback, param) end
---@param basedir string where relative paths begin
---@return table builder util.sslconfig's; absent before 13.0
function server.tls_builder(basedir) end
---@param network_settings table
function server.set_config(network_settings) end
---@return string name "trochee" and the poller
function server.get_backend() end
---@return table<string, integer> counters by name, which docs/counters.md explains; not on the stock backends
function server.stats() end
---@return table<string, string> what each counter counts, by name
function server.describe_stats() end
---@return table<string, integer>[] counters of each thread: the loop's own, then those of its I/O threads
function server.thread_stats() end
---@return table<string, {bounds: number[], counts: integer[], sum: number}> by name: how many were up to each bound, and at the end all
function server.histograms() end
---@return table<string, string> what each of them measures, by name
function server.describe_histograms() end
---@return table<string, table<string, integer>> by name: how often each kind of something happened
function server.tallies() end
---@return table<string, {label: string, about: string}> what the kinds of each are called, and what it counts
function server.describe_tallies() end
---@return {key: integer, address: string, port: integer?, accepted: integer, refused: integer, open: integer}[] what is known of each listener
function server.listeners() end
---@return table<string, integer> what is in use, and how much there may be of it
function server.gauges() end
---@return table<string, string> what each of them measures, by name
function server.describe_gauges() end
---@return table<"accepted"|"proxied"|"secured"|"opened"|"established", integer> connections by how far they have got
function server.stages() end
---@param once? boolean a single turn
---@return "quitting"?
function server.loop(once) end
function server.closeall() end
---@param quit boolean|"once" true closes everything and ends the loop; "once" ends it, and it can be entered again
function server.setquitting(quit) end

return server;
