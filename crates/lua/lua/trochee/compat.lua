-- What Lua 5.1, 5.2, 5.3 and LuaJIT lack of what the files here need of 5.4. Nothing global is changed.

local unpack = table.unpack or unpack; -- luacheck: ignore 113

-- xpcall of 5.1 gives the function no arguments
local passes_arguments = select(2, xpcall(function (given) return given; end, print, true));

local function xpcall_with(f, handler, ...)
	local count, arguments = select("#", ...), { ... };
	return xpcall(function ()
		return f(unpack(arguments, 1, count));
	end, handler);
end

-- The first file that a name leads to
local function searchpath(name, path)
	for template in path:gmatch("[^;]+") do
		local candidate = template:gsub("%?", (name:gsub("%.", "/")));
		local file = io.open(candidate);
		if file then
			file:close();
			return candidate;
		end
	end
end

return {
	searchpath = package.searchpath or searchpath;
	unpack = unpack;
	xpcall = passes_arguments and xpcall or xpcall_with;
};
