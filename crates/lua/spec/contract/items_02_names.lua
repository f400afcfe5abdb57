-- The names of Prosody's own backends: item 2 of the contract.

local t = require "harness"

-- In a process of its own: what it prints, with what went wrong
local function run(script)
	local name = os.tmpname()
	local file = assert(io.open(name, "w"))
	file:write(script)
	file:close()
	local process = assert(io.popen(("LUA_INIT='@%s' %s %s 2>&1"):format(t.takeover, t.lua, name)))
	local said = process:read("*a")
	process:close()
	os.remove(name)
	return said
end

t.item(2, "after takeover.lua the stock names, with and without the prefix \"prosody.\", are trochee; other programs are unharmed",
function (s)
	s.ok(s.is_trochee, "a takeover")
	local prosody = ([[
		package.path = "%s/?.lua;"..package.path
		package.cpath = "%s/?.so;"..package.cpath
	]]):format(t.source_dir, t.source_dir)
	local names = prosody..[[
		-- Without it nothing of 13.0 finds the rest
		pcall(require, "loader")
		for _, prefix in ipairs { "", "prosody." } do
			for name, member in pairs { epoll = "set_config", event = "cfg", select = "changesettings" } do
				local server = require(prefix.."net.server_"..name)
				assert(server[member], name.." without "..member)
				local source = debug.getinfo(server.listen, "S").source
				assert(source:match("server_trochee%.lua$"), name.." is "..source)
			end
		end
		for _, prefix in ipairs { "", "prosody." } do
			assert(require(prefix.."util.poll").new == require "trochee.util_poll".new, "util.poll")
		end
		assert(not package.loaded["luaevent.core"])
		-- Not asked by net/server.lua: the real one
		assert(require "luaevent.core".new, "a stand-in for luaevent")
		print "done"
	]]
	s.eq(run(names), "done\n", "a program on Prosody's libraries")

	-- Prosody's own test. Whether or not luaevent is installed, net.server_event is asked for afterwards
	s.eq(run(prosody..[[
		package.cpath = package.cpath:gsub("[^;]*/lua/5%.%d/[^;]*;", "")
		assert(not pcall(require, "luaevent.core"))
		assert((loadstring or load)([=[ assert(pcall(require, "luaevent.core")) ]=], "@/usr/lib/prosody/net/server.lua"))()
		assert(package.loaded["luaevent.core"] and not package.loaded["luaevent.core"].new)
		package.preload.socket, package.preload.ssl = function () return {} end, function () return {} end
		require "net.server_event"
		assert(not pcall(require, "luaevent.core"))
		print "done"
	]]), "done\n", "the test for luaevent where there is none")

	-- Programs that have nothing to do with Prosody
	s.eq(run([[
		for name in pairs(_G) do assert(type(name) == "string" and not name:match("trochee"), name) end
		for _, name in ipairs { "net.server_epoll", "net.server_event", "net.server_select", "util.poll", "prosody.util.poll" } do
			local found, err = pcall(require, name)
			assert(not found and err:match("^module '"..name.."' not found:"), err)
		end
		package.preload["net.server_epoll"] = function () return "its own" end
		assert(require "net.server_epoll" == "its own")
		assert(require "luaevent.core".new)
		print "done"
	]]), "done\n", "another program")
end, {
	stock = {
		epoll = { "not offered: taking over names", match = "^a takeover" },
		event = { "not offered: taking over names", match = "^a takeover" },
		select = { "not offered: taking over names", match = "^a takeover" },
	},
	stock_names = true,
})
