--[[
The keys of TLS sessions: the file has the same lines as that of the other end, and there is none unless the setting and the environment
both ask for it.

	busted crates/lua/spec/key_log_spec.lua        from the top of the repository, after make build
]]

local here = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
package.path = here.."?.lua;"..package.path
local process = require "process"

-- A server that an openssl s_client of each version comes to
local program = [[
	local server = require "net.server_trochee"
	local ssl = require "ssl"
	local dir = %q
	server.set_config { io_threads = %d; tls_key_log = %s }
	local left = 2
	local listening = server.listen("127.0.0.1", 0, {
		onincoming = function (conn) conn:close() end;
		ondisconnect = function ()
			left = left - 1
			if left == 0 then server.setquitting("once") end
		end;
	}, { tls_direct = true, tls_ctx = assert(ssl.newcontext {
		mode = "server"; protocol = "sslv23"; certificate = dir.."/cert"; key = dir.."/key";
	}) })
	for _, version in ipairs { "tls1_2", "tls1_3" } do
		os.execute(("echo hello | timeout 20 openssl s_client -ign_eof -connect 127.0.0.1:%%d -%%s -keylogfile %%s/%%s >%%s/%%s.out 2>&1 &")
			:format(listening:serverport(), version, dir, version, dir, version))
	end
	server.loop()
]]

local function lines(name)
	local found = {}
	for line in io.lines(name) do
		if not line:match("^#") then found[#found+1] = line end
	end
	table.sort(found)
	return found
end

describe("the keys of TLS sessions", function ()
	local dir
	local function run(io_threads, setting, environment)
		local said, status = process.lua(program:format(dir, io_threads, setting), environment)
		assert.equal(0, status, said)
		return said
	end

	setup(function ()
		dir = os.tmpname()
		os.remove(dir)
		assert(os.execute(("mkdir -m 700 %s && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -keyout %s/key -out %s/cert 2>/dev/null")
			:format(dir, dir, dir)))
	end)
	teardown(function ()
		os.execute("rm -rf "..dir)
	end)
	before_each(function ()
		os.execute(("rm -f %s/ours %s/tls1_2 %s/tls1_3"):format(dir, dir, dir))
	end)

	for _, io_threads in ipairs { 0, 1 } do
		it(("are those that the other end has, with %d I/O threads"):format(io_threads), function ()
			local said = run(io_threads, true, "SSLKEYLOGFILE="..dir.."/ours")
			assert.matches("warn\tThe keys of all TLS connections are written to "..dir.."/ours", said)
			local expected = lines(dir.."/tls1_2")
			for _, line in ipairs(lines(dir.."/tls1_3")) do
				table.insert(expected, line)
			end
			table.sort(expected)
			assert.same(expected, lines(dir.."/ours"))
			assert.equal(6, #expected, "CLIENT_RANDOM, and five secrets of TLS 1.3")
			local mode = io.popen("stat -c %a "..dir.."/ours")
			assert.equal("600\n", mode:read("a"))
			mode:close()
		end)
	end

	it("are nowhere where the variable or the setting is not there, or the file cannot be written", function ()
		assert.equal("", run(0, false, "SSLKEYLOGFILE="..dir.."/ours"))
		assert.is_nil(io.open(dir.."/ours"))
		assert.matches("warn\tnetwork_settings%.tls_key_log has no effect, because the environment has no SSLKEYLOGFILE", run(0, true, "SSLKEYLOGFILE="))
		assert.matches("error\tnetwork_settings%.tls_key_log: /nowhere/keys cannot be opened %(No such file", run(0, true, "SSLKEYLOGFILE=/nowhere/keys"))
	end)
end)
