-- What the items use of Lua 5.4 and an older Lua lacks, so that the contract runs on each that trochee is built for.

local math, string, table = math, string, table

-- luacheck: ignore 121 122 142 143
table.unpack = table.unpack or unpack
table.pack = table.pack or function (...)
	return { n = select("#", ...), ... }
end
math.tointeger = math.tointeger or function (number)
	return type(number) == "number" and number % 1 == 0 and number or nil
end
-- Before 5.3 there is one kind of number: it is what the item asks for
math.type = math.type or function (value)
	return type(value) == "number" and (value % 1 == 0 and "integer" or "float") or nil
end
utf8 = utf8 or { len = function (text) return #text end }

if not select(2, xpcall(function (given) return given end, print, true)) then
	local old = xpcall
	function xpcall(f, handler, ...) -- luacheck: ignore 131
		local arguments = table.pack(...)
		return old(function () return f(table.unpack(arguments, 1, arguments.n)) end, handler)
	end
end

package.searchpath = package.searchpath or function (name, path)
	for template in path:gmatch("[^;]+") do
		local candidate = template:gsub("%?", (name:gsub("%.", "/")))
		local file = io.open(candidate)
		if file then
			file:close()
			return candidate
		end
	end
end

if _VERSION == "Lua 5.1" then
	local old_load, old_execute = load, os.execute
	function load(chunk, name, _, env) -- luacheck: ignore 131
		local loaded, err = (type(chunk) == "string" and loadstring or old_load)(chunk, name)
		if loaded and env then
			setfenv(loaded, env)
		end
		return loaded, err
	end
	local old_running = coroutine.running
	function coroutine.running()
		local thread = old_running()
		return thread, thread == nil
	end
	local old_exit = os.exit
	function os.exit(code)
		old_exit((code == true or code == nil) and 0 or code == false and 1 or code)
	end
	-- Lua 5.1 gives the status, the others whether it is 0
	function os.execute(command)
		local status = old_execute(command)
		return status == 0 or status == true or nil
	end
	-- "%s" does not ask for the text of a value by itself
	local old_format = string.format
	function string.format(format, ...)
		local arguments = table.pack(...)
		for i = 1, arguments.n do
			if type(arguments[i]) ~= "number" then
				arguments[i] = tostring(arguments[i])
			end
		end
		return old_format(format, table.unpack(arguments, 1, arguments.n))
	end
end

-- xpcall whose function may yield. Lua 5.1 has no such thing, so there the function gets a coroutine of its own
local function finish(handler, thread, ok, ...)
	if not ok then
		return false, handler((...))
	elseif coroutine.status(thread) == "dead" then
		return true, ...
	end
	return finish(handler, thread, coroutine.resume(thread, coroutine.yield(...)))
end

-- Coroutine of such a function -> that of its caller
local callers = setmetatable({}, { __mode = "k" })

local function yielding_xpcall(f, handler, ...)
	local thread = coroutine.create(f)
	callers[thread] = coroutine.running()
	return finish(handler, thread, coroutine.resume(thread, ...))
end

local probe = coroutine.create(function () return pcall(coroutine.yield) end)
coroutine.resume(probe)
local can_yield = coroutine.status(probe) == "suspended"

return {
	yielding_xpcall = can_yield and xpcall or yielding_xpcall;
	-- The coroutine that runs, as the caller of yielding_xpcall sees it
	running = function ()
		local thread = coroutine.running()
		return thread and callers[thread] or thread
	end;
}
