--[[
docs/settings.md lists every setting, with its unit and its default, and lists none that is not there.

	busted crates/lua/spec/settings_spec.lua        from the top of the repository, after make build

The other side is the table SETTINGS in crates/lua/src/settings.rs. What a setting takes and what its default is are asked of
trochee itself: a value of the wrong type is refused with both.
]]

local here = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
package.path = here.."?.lua;"..package.path
local process = require "process"

-- What a unit in the document is called when a value is refused.
local expected = {
	["boolean"] = "true or false";
	["boolean or seconds"] = "true, false or a whole number of seconds";
	["bytes"] = "a whole number above 0";
	['bytes or "auto"'] = 'a whole number above 0 or "auto"';
	["bytes a second or false"] = "a whole number above 0 or false";
	["bytes or false"] = "a whole number above 0 or false";
	["connections"] = "a whole number above 0";
	["list of networks"] = 'a list of networks such as { "loopback", "192.0.2.0/24" }';
	["multiple"] = "a whole number above 0";
	['connections or "auto"'] = 'a whole number above 0 or "auto"';
	["connections a second"] = "a whole number above 0";
	["list of ports or false"] = "a list of ports, such as { 5222 }, or false";
	["options by port"] = "a table such as { [5269] = { tcp_keepalive = 60; tcp_user_timeout = 90 } }";
	["number or false"] = "a whole number from 1 to 127 or false";
	["whole seconds or false"] = "a whole number of seconds or false";
	["name"] = 'the name of a poller or "auto"';
	['number or "auto"'] = 'a whole number from 0 to 64 or "auto"';
	['path, "auto" or false'] = 'a path of at most 107 bytes, "auto" or false';
	["queue length or false"] = "a queue length above 0 or false";
	["seconds"] = "a number of seconds";
	["seconds or false"] = "a number of seconds or false";
}

local function contents(name)
	local file = assert(io.open(here.."../../../"..name))
	local text = file:read("a")
	file:close()
	return text
end

local function sorted_keys(set)
	local keys = {}
	for key in pairs(set) do
		table.insert(keys, key)
	end
	table.sort(keys)
	return keys
end

-- The rows of the table of settings, and the names of those that have no effect.
local function documented()
	local text = contents("docs/settings.md")
	local rows, unused = {}, {}
	for name, unit, default in text:match("| setting |.-\n\n"):gmatch("\n| `([%w_]+)` | ([^|]+) | ([^|]+) |") do
		rows[name] = { unit = unit:gsub("`", ""), default = default:gsub("`", "") }
	end
	for name in text:match("Accepted without effect.-:(.-)\n\n"):gmatch("`([%w_]+)`") do
		unused[name] = true
	end
	return rows, unused
end

-- The names in the table of the source, and of those the ones that have no effect.
local function known()
	local names, unused = {}, {}
	local source = contents("crates/lua/src/settings.rs"):match("\nconst SETTINGS:.-\n%];")
	for name, rule in source:gmatch('%(%s*"([%w_]+)",%s*(%w+)') do
		names[name] = true
		unused[name] = rule == "Unused" or nil
	end
	return names, unused
end

-- What trochee says to { name = wrong } for each name. No setting is a function.
local function refusals(names)
	local said, status = process.lua(([[
		local core = require "trochee".new()
		for name in ("%s"):gmatch("%%S+") do
			local _, messages = core.configure({ [name] = print })
			print(name, messages[1] and messages[1][2] or "")
		end
	]]):format(table.concat(names, " ")))
	assert.equal(0, status, said)
	local found = {}
	for name, message in said:gmatch("([%w_]+)\t(.-)\n") do
		found[name] = message
	end
	return found
end

describe("docs/settings.md", function ()
	local rows, listed_unused = documented()
	local names, unused = known()

	it("has found something to compare", function ()
		assert.is_true(#sorted_keys(rows) > 20 and #sorted_keys(names) > 30)
	end)

	it("lists the settings that there are", function ()
		local all = {}
		for _, list in ipairs { rows, listed_unused } do
			for name in pairs(list) do
				assert.is_nil(all[name], name.." is listed twice")
				all[name] = true
			end
		end
		assert.same(sorted_keys(names), sorted_keys(all))
	end)

	it("says which have no effect", function ()
		assert.same(sorted_keys(unused), sorted_keys(listed_unused))
	end)

	it("says of each what it takes and what it is by default", function ()
		for name, refusal in pairs(refusals(sorted_keys(rows))) do
			local row = rows[name]
			local takes = assert(expected[row.unit], ("%s has the unit %q, which this test does not know"):format(name, row.unit))
			assert.equal(
				("network_settings.%s must be %s, not a function; keeping %s"):format(name, takes, row.default), refusal)
		end
	end)

	it("lists the names that trochee itself tells", function ()
		local said, status = process.lua([[
			for name in pairs((require "trochee".new().configure(nil))) do print(name) end
		]])
		assert.equal(0, status, said)
		for name in said:gmatch("%S+") do
			assert.is_table(rows[name], name.." is not listed")
		end
	end)
end)

-- Any value for any setting, many at once: what is refused is named and keeps its value, and the loop goes on. The numbers are the
-- same in each run; SETTINGS_SEED begins others.
local any_value = [=[
	local core = require "trochee".new()
	local seed = tonumber(os.getenv "SETTINGS_SEED" or 1)
	math.randomseed(seed)
	local cyclic = {}
	cyclic[1], cyclic.itself = cyclic, cyclic
	local values = {
		true, false, 0, 1, -1, 2, 64, 65, 4096, 65536, 1 << 31, 1 << 53, math.maxinteger, math.mininteger, 0.5, -0.5, 1e-300, 1e300,
		1 / 0, -1 / 0, 0 / 0, "", "auto", "epoll", "poll", "*a", "loopback", "1", "0x10", "1e3", "\0", "\xff\xfe", ("x"):rep(500),
		{}, { 1 }, { 5222, 5223 }, { 0 }, { -1 }, { 65536 }, { "loopback" }, { "::/129" }, { "192.0.2.0/24", 7 }, { {} }, { a = 1 },
		cyclic, print, io.stdout, coroutine.create(print), setmetatable({}, { __index = error, __len = error, __pairs = error }),
	}
	local names = {}
	for name in ("%s"):gmatch("%%S+") do
		table.insert(names, name)
	end
	local function show(value)
		if type(value) ~= "table" then return tostring(value) end
		local all = {}
		for i, v in ipairs(value) do all[i] = show(v) end
		return "{"..table.concat(all, ",").."}"
	end
	-- As a file in another encoding has it, and what is no name at all
	local keys = { "gr\xf6\xdfe", "\0", "", ("x"):rep(500), 1, 0.5, true, print, {}, cyclic,
		setmetatable({}, { __tostring = error, __name = 7 }), io.stdout }
	local before = core.configure(nil)
	for _ = 1, 3000 do
		local given = {}
		for _ = 1, math.random(1, 3) do
			given[names[math.random(#names)]] = values[math.random(#values)]
		end
		if math.random(10) == 1 then
			given[keys[math.random(#keys)]] = true
		end
		-- Threads that were begun would stay
		given.io_threads = nil
		local ok, after, messages = pcall(core.configure, given)
		assert(ok, after)
		local refused = {}
		for _, message in ipairs(messages) do
			assert(#message[2] < 2000, "a message without end")
			local name = message[2]:match("^network_settings%%.([%%w_]+) must be .*; keeping ")
			if name then
				refused[name] = true
				assert(given[name] ~= nil, "was not given: "..message[2])
				assert(show(after[name]) == show(before[name]),
					("%%s was %%s and is %%s: %%s"):format(name, show(before[name]), show(after[name]), message[2]))
			end
		end
		before = after
	end
	core.begin_turn(0)
	while core.next_event(true) do end
	print "the end"
]=]

describe("network_settings", function ()
	it("warns of a name that it does not know, in whatever encoding that is", function ()
		local said, status = process.lua([[
			local _, messages = require "trochee".new().configure { ["gr\xf6\xdfe"] = 1, read_timeout = "long" }
			for _, message in ipairs(messages) do print(message[1], message[2]) end
		]])
		assert.equal(0, status, said)
		assert.truthy(said:find("network_settings.read_timeout must be", 1, true), said)
		assert.truthy(said:find("warn\tnetwork_settings.gr\u{fffd}\u{fffd}e is not a setting that trochee knows", 1, true), said)
	end)

	it("takes or refuses whatever it is given", function ()
		local names = sorted_keys((known()))
		local said, status = process.lua(any_value:format(table.concat(names, " ")))
		assert.equal(0, status, said)
		assert.equal("the end\n", said:match("[^\n]*\n$"))
	end)
end)
