--[[
The Lua files are for every Lua that trochee is built for: LuaJIT, whose syntax is that of 5.1, reads each of them.

	busted crates/lua/spec/older_lua_spec.lua        from the top of the repository

Whether they also work there is shown by scripts/test-lua.
]]

local here = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
package.path = here.."?.lua;"..package.path
local process = require "process"

describe("the Lua files", function ()
	it("are read by LuaJIT", function ()
		local said, status = process.run("for file in $(find "..here.."../lua "..here.."contract -name '*.lua' ! -name '*.d.lua'); do "..
			"luajit -bl \"$file\" /dev/null || exit 1; done")
		assert.equal("", said)
		assert.equal(0, status)
	end)
end)
