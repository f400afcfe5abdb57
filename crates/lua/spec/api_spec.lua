--[[
docs/lua-api.md and trochee/types.d.lua have every function, method, callback and field that there is, and none that is not.

	busted crates/lua/spec/api_spec.lua        from the top of the repository, after make build

What there is: functions and methods are asked of trochee itself, callbacks are those whose names its Lua files have.
]]

local here = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"
package.path = here.."?.lua;"..package.path
local process = require "process"

local function contents(name)
	local file = assert(io.open(here.."../../../"..name))
	local text = file:read("a")
	file:close()
	return text
end

local function set(iterator)
	local names = {}
	for name in iterator do
		names[name] = true
	end
	return names
end

-- What a loaded trochee has; tls_builder is there with Prosody 13.0 alone.
local function in_code()
	local said = process.lua([[
		local server = require "net.server_trochee"
		server.tls_builder = server.tls_builder or true
		local tls = getmetatable(require "trochee.tls.socket".new {}).__index
		for what, methods in pairs { module = server, timer = server.timer, handle = require "trochee.handle".methods,
			socket = require "trochee.socket".methods, tls = tls } do
			for name in pairs(methods) do
				print((what == "tls" and "socket" or what).." "..tostring(name))
			end
		end
	]])
	local found = {}
	for _, what in ipairs { "module", "timer", "handle", "socket" } do
		found[what] = set(said:gmatch("%f[%a]"..what.." ([%w_]+)\n"))
	end
	-- The field is a logger, or one of the handle's own
	found.handle.log = nil
	found.callback = {}
	for _, file in ipairs { "net/server_trochee", "trochee/handle", "trochee/tls/handle" } do
		local source = contents("crates/lua/lua/"..file..".lua")
		for name in source:gmatch('emit%([%w_]+, "(on%l+)"') do found.callback[name] = true end
		for name in source:gmatch('self:on%("(%l+)"') do found.callback["on"..name] = true end
		for name in source:gmatch("listeners%.(on%l+)") do found.callback[name] = true end
	end
	return found
end

local function in_types()
	local text = contents("crates/lua/lua/trochee/types.d.lua")
	local function fields(class)
		return text:match("\n%-%-%-@class "..class.."\n(.-)\n[^%-]")
	end
	local function field_names(class)
		return set((fields(class).."\n"):gmatch("%-%-%-@field ([%w_]+)"))
	end
	local module = set(text:gmatch("\nfunction server%.([%w_]+)"))
	for name in pairs(field_names "trochee%.Server") do module[name] = true end
	return {
		module = module;
		timer = field_names "trochee%.TimerModule";
		handle = set(text:gmatch("\nfunction handle:([%w_]+)"));
		socket = set(text:gmatch("\nfunction socket:([%w_]+)"));
		callback = field_names "trochee%.Listeners";
		field = field_names "trochee%.Handle";
	}
end

local function in_document()
	local text = contents("docs/lua-api.md")
	local function rows(section, first)
		local table_text = text:match("\n## "..section.."\n.-\n| "..first.." |.-\n\n") or text:match("\n## "..section.."\n.-\n| "..first.." |.*$")
		return set((table_text:match("| "..first.." |.*")):gmatch("\n| `([%w_]+)"))
	end
	return {
		module = rows("The module", "function");
		timer = rows("Timers", "function");
		callback = rows("Callbacks", "callback");
		handle = rows("Handles", "method");
		field = rows("Handles", "field");
		socket = rows("The socket of a handle", "method");
	}
end

local function difference(one, other)
	local names = {}
	for name in pairs(one) do
		if not other[name] then
			table.insert(names, name)
		end
	end
	table.sort(names)
	return table.concat(names, " ")
end

describe("the reference of the Lua API", function ()
	local code, types, document = in_code(), in_types(), in_document()

	for _, what in ipairs { "module", "timer", "handle", "socket", "callback" } do
		it("has what there is: "..what, function ()
			assert.is_truthy(next(code[what]), "nothing was found in the code")
			assert.equal("", difference(code[what], types[what]), "missing in types.d.lua")
			assert.equal("", difference(code[what], document[what]), "missing in docs/lua-api.md")
			assert.equal("", difference(types[what], code[what]), "in types.d.lua alone")
			assert.equal("", difference(document[what], code[what]), "in docs/lua-api.md alone")
		end)
	end

	it("has the fields of a handle", function ()
		assert.equal("", difference(types.field, document.field), "missing in docs/lua-api.md")
		assert.equal("", difference(document.field, types.field), "missing in types.d.lua")
	end)
end)
