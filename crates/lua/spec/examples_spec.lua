--[[
The command of README.md that runs the example in Lua, and what it serves.

	busted crates/lua/spec/examples_spec.lua        from the top of the repository, after make build
]]

local here = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
package.path = here.."?.lua;"..package.path
local process = require "process"
local socket = require "socket"

local function answer(port)
	local sock
	for _ = 1, 500 do
		sock = socket.connect("127.0.0.1", port)
		if sock then break end
		socket.sleep(0.02)
	end
	assert(sock, "nobody listens")
	sock:settimeout(10)
	sock:send("an iamb\n")
	local line = sock:receive("*l")
	sock:close()
	return line
end

describe("the example in README.md", function ()
	it("echoes what it gets", function ()
		local file = assert(io.open(here.."../../../README.md"))
		local command = file:read("a"):match("\n(LUA_PATH=[^\n]*echo%.lua)\n")
		file:close()
		assert.is_truthy(command, "the command was not found")
		command = command:gsub("dist/lua", process.dist_dir)
		local free = assert(socket.bind("127.0.0.1", 0))
		local _, port = free:getsockname()
		free:close()
		local pid = process.run(("%s auto %d"):format(command, port).." >/dev/null 2>&1 & echo $!"):match("%d+")
		local ok, line = pcall(answer, port)
		process.run("kill "..pid)
		assert.is_true(ok, line)
		assert.equal("an iamb", line)
	end)
end)
