--[[
The contract of net.server, run on trochee with each of its pollers and on the backends that come with Prosody, 0.12 and
13.0.

	busted crates/lua/spec/contract_spec.lua        from the top of the repository

CONTRACT_SUBJECTS, CONTRACT_ITEMS  lists that restrict the run, e.g. "trochee-poll epoll" and "16 17"
CONTRACT_JOBS      processes at a time, default 6
CONTRACT_RESULTS   where the results go, default target/contract; report.lua reads them. Two runs at once need two.
CONTRACT_LUA       what runs an item, default lua5.4, e.g. "valgrind lua5.4"; CONTRACT_PATIENCE multiplies its times
PROSODY_SOURCEDIR, PROSODY_13_SOURCEDIR
                   where Prosody is, default /usr/lib/prosody and .prosody/13.0/usr/lib/prosody
TROCHEE_DIST       where net/server_trochee.lua and trochee.so are, default dist/lua

On trochee every item has to pass. On a stock backend an item fails if, and only if, its bug is on record beside the
item; otherwise the record, and the table in docs/differences.md, would not be true.
]]

local here = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
package.path = here.."contract/?.lua;"..package.path
local results = require "results"

describe("the contract of net.server", function ()
	local matrix = results.matrix()

	it("has something to run", function ()
		assert.is_true(#matrix > 0)
	end)

	setup(function ()
		results.run(matrix)
	end)

	for _, pair in ipairs(matrix) do
		local item, subject = pair.item, pair.subject
		it(("%d %s: %s [%s]"):format(item.number, item.group, item.title, subject), function ()
			local verdict, why = results.judge(pair, results.load(pair))
			if verdict == "skip" then
				pending(why)
			end
			assert.is_true(verdict ~= "failure", why)
		end)
	end
end)
