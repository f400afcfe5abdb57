-- Items 1 and 6: how Prosody loads a backend, and what its certmanager makes of it.

local t = require "harness"
local support = require "tls_support"

local config = [[
network_backend = %q
run_as_root = true
data_path = %q
certificates = %q
log = { debug = %q }
interfaces = { "127.0.0.1" }
local_interfaces = { "127.0.0.1" }
c2s_ports = { %d }
c2s_direct_tls_ports = {}
s2s_ports = {}
s2s_direct_tls_ports = {}
http_ports = {}
https_ports = {}
c2s_require_encryption = false
modules_enabled = { "saslauth" }
VirtualHost "localhost"
]]

t.item(1, "network_backend in the configuration starts Prosody unchanged; the module has the names that its version knows",
function (s)
	local own = s.is_trochee and "trochee" or s.name
	if s.version == "13.0" then
		s.eq(require("prosody.net.server_"..own), s.server, "the module by its name with the prefix prosody.")
	end
	s.eq(require("net.server_"..own), s.server, "the module by its name without it")

	local dir = s.tmpdir()
	local port, log = s.free_port(), dir.."/log"
	local file = assert(io.open(dir.."/prosody.cfg.lua", "w"))
	file:write(config:format(own, dir, dir, log, port))
	file:close()
	-- Relative entries of the path are not for Prosody; the poller is in the environment already.
	os.execute(([[cd '%s' && {
		dist=$OLDPWD/%s; case '%s' in /*) dist='%s';; esac
		source='%s'; case $source in /*) ;; *) source=$OLDPWD/$source;; esac
		LUA_PATH="$dist/?.lua;;" LUA_CPATH="$dist/?.so;;" "$source/../../bin/prosody" -F --config prosody.cfg.lua >console 2>&1 </dev/null &
		echo $! >pid; }]]):format(dir, t.dist_dir, t.dist_dir, t.dist_dir, t.source_dir))
	local function read(name)
		return s.read_file(dir.."/"..name) or ""
	end
	local pid = s.wait(function () return tonumber((read("pid"):match("^%d+\n"))) end, 5, "the pid of prosody")
	local signal = require "util.signal"
	local ok, err = pcall(function ()
		s.wait(function () return read("log"):find("Activated service 'c2s'", 1, true) end, 15, "prosody's start: "..read("console"))
		local peer = s.peer(port)
		peer:send("<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0' to='localhost'>")
		local answer, why, came = peer:receive_until("</stream:features>")
		s.ok(answer, ("the answer to a stream: %s, %s"):format(why, came))
		peer:close()
		local backend = read("log"):match("is using the (.-) backend")
		s.eq(backend, s.server.get_backend(), "the backend that prosody says it uses")
	end)
	signal.kill(pid, signal.SIGKILL)
	if not ok then s.fail(err) end
	s.ok(not read("log"):find("\terror\t"), "an error in prosody's log: "..(read("log"):match("[^\n]*\terror\t[^\n]*") or ""))
	s.eq(read("console"):match("[Ee]rror[^\n]*"), nil, "an error on prosody's console")
end, { limit = 40 })

t.item(6, "tls_builder, new in 13.0: a builder; contexts with set_sni_host, remove_sni_host and wrap; errors that certmanager parses",
function (s)
	if s.version == "0.12" then
		s.eq(s.server.tls_builder, nil, "tls_builder before 13.0")
		return
	end
	local tls = support(s)
	local cert, host = tls.cert("example.com"), tls.cert("host.example")
	local cfg = { mode = "server", protocol = "tlsv1_2+", certificate = cert.certificate:match("[^/]+$"), key = cert.key }

	-- Paths are relative to the folder that the builder was asked for with
	local builder = s.server.tls_builder(tls.dir)
	s.eq(builder:apply(cfg), builder, "apply() gives the builder")
	s.eq(builder:final().certificate, cert.certificate, "the path of the certificate in final()")
	local ctx, err = builder:build()
	s.ok(ctx, err)
	s.eq(builder:build(), ctx, "a second build() without a change")
	local other = builder:clone():apply({ certificate = host.certificate, key = host.key }):build()
	s.ok(other and other ~= ctx, "a clone's build()")
	s.eq(builder:build(), ctx, "build() after a clone was changed")

	s.eq(ctx:set_sni_host("host.example", host.certificate, host.key), true, "set_sni_host")
	local ok, why = ctx:set_sni_host("bad.example", tls.dir.."/absent", host.key)
	s.eq(ok, false, "set_sni_host without a certificate")
	s.ok(tostring(why):match("^error loading certificate %("), "its error: "..tostring(why))
	ctx:remove_sni_host("nobody.example")
	local listening, port = tls.listen(s.recorder(), ctx)
	s.eq(tls.name_at(port), "example.com")
	s.eq(tls.name_at(port, "host.example"), "host.example")
	s.eq(tls.name_at(port, "bad.example"), nil, "the host whose certificate could not be loaded")
	listening:close()

	-- Others wrap sockets of their own
	local listener = assert(tls.socket.bind("127.0.0.1", 0))
	local connecting = tls.socket.tcp4()
	connecting:settimeout(0)
	connecting:connect("127.0.0.1", (select(2, listener:getsockname())))
	local wrapped, wrap_err = ctx:wrap((listener:accept()))
	s.ok(wrapped, wrap_err)
	s.eq(type(wrapped.dohandshake), "function", "what wrap() gives")
	if s.is_trochee then
		-- On stock LuaSec then closes a descriptor of somebody else's, standard output for one.
		s.eq(ctx:wrap("no socket"), nil, "wrap() of something else")
	end
	wrapped:close()

	-- As net/server.lua does before certmanager asks for it
	local made_by = s.server.tls_builder
	s.server.tls_builder = function () return made_by(tls.dir) end
	_G.prosody = { paths = { config = tls.dir }, events = require "util.events".new() }
	local certmanager = require "core.certmanager"
	s.server.tls_builder = nil
	ctx, err = certmanager.create_context("example.com", "server", { certificate = cert.certificate, key = cert.key })
	s.ok(ctx and ctx.set_sni_host, "create_context, which keeps the tls_builder of its start: "..tostring(err))
	tls.write_file(tls.dir.."/empty", "")
	for _, case in ipairs {
		{ { key = tls.dir.."/absent" }, "Failed to load '[^']*absent': Check that the .*file exists" },
		{ { certificate = tls.dir.."/empty" }, "Failed to load '[^']*empty': Check that the file contains a certificate" },
		{ { key = host.key }, "private key does not match public key" },
	} do
		local change, said = table.unpack(case)
		ctx = certmanager.create_context("example.com", "server", tls.merged({ certificate = cert.certificate, key = cert.key }, change))
		s.eq(ctx, nil, "create_context with a bad file")
		s.ok(s.logged(said, "error"), "what certmanager says: "..s.log[#s.log][2])
	end
	_G.prosody = nil
end, { logs_errors = true })
