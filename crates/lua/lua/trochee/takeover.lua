-- Makes the names of Prosody's own backends mean trochee, in a process that has not loaded one yet:
--
--   LUA_INIT=@/usr/local/lib/trochee/lua/trochee/takeover.lua      in the environment of prosody and prosodyctl, or
--   RunScript "/usr/local/lib/trochee/lua/trochee/takeover.lua"    in the configuration file
--
-- LUA_INIT is inherited by whatever Prosody starts, so any other Lua program has to be none the wiser; every Lua reads this
-- file, whichever trochee.so is made for. Where trochee cannot be loaded, Prosody's own backend serves, and one line
-- in the log says why.

if package.preload["net.server_epoll"] then
	return;
end

local file = debug.getinfo(1, "S").source:sub(2);
local root = file:match("^(/.*)/trochee/takeover%.lua$");

-- The file that require would load
local function find(name, path)
	for template in path:gmatch("[^;]+") do
		local candidate = template:gsub("%?", (name:gsub("%.", "/")));
		local opened = io.open(candidate);
		if opened then
			opened:close();
			return candidate;
		end
	end
end

-- What require finds without us. Prosody 13.0 has its searchers look for "prosody.x" under "x" as well
local function others(asked)
	local preload, ours = package.preload, {};
	local short = asked:gsub("^prosody%.", "");
	for _, name in ipairs { short, "prosody."..short } do
		ours[name], preload[name] = preload[name], nil;
	end
	-- Lua 5.1 marks what is being loaded, and takes a second require for a loop
	package.loaded[asked] = nil;
	local ok, result = pcall(require, asked);
	for name, load in pairs(ours) do
		preload[name] = load;
	end
	if not ok then
		error(result, 0);
	end
	return result;
end

-- Prosody, prosodyctl, and whatever else runs on Prosody's own libraries
local function is_prosody()
	return find("net.server_epoll", package.path) ~= nil;
end

local function header_and_size(path)
	local opened, why = io.open(path, "rb");
	if not opened then
		return nil, why;
	end
	local header, size = opened:read(64) or "", opened:seek("end");
	opened:close();
	return header, size;
end

-- Where the ELF header (elf(5)) has the offset of the section headers, and the size and number of these
local layouts = {
	["\1"] = { address = 4, sections = 33, entries = 47 };
	["\2"] = { address = 8, sections = 41, entries = 59 };
};

-- Why trochee.so had better not be mapped. Of all that can be wrong with it, most is an error that require tells. But a file that
-- was cut short would end the process by SIGBUS: the section headers are the last thing in it, so they tell whether it is whole.
-- And of a file for another architecture the system says only that it cannot be opened
local function unfit(path)
	local header, size = header_and_size(path);
	if not header then
		return size;
	end
	local layout = layouts[header:sub(5, 5)];
	if #header < 64 or header:sub(1, 4) ~= "\127ELF" or not layout then
		return path.." is not a shared library; install trochee again";
	end
	local program = header_and_size("/proc/self/exe");
	-- Word size, byte order, machine
	if program and program:sub(5, 6)..program:sub(19, 20) ~= header:sub(5, 6)..header:sub(19, 20) then
		return path.." was built for another architecture; install the package that was built for this one";
	end
	local is_big_endian = header:sub(6, 6) == "\2";
	local function number(at, length)
		local bytes = header:sub(at, at + length - 1);
		local value = 0;
		for byte in (is_big_endian and bytes or bytes:reverse()):gmatch("(.)") do
			value = value * 256 + byte:byte();
		end
		return value;
	end
	local entry_size, entries = number(layout.entries, 2), number(layout.entries + 2, 2);
	local whole = number(layout.sections, layout.address) + entries * entry_size;
	if size < whole then
		return ("%s is incomplete: %d of %d bytes; install trochee again"):format(path, size, whole);
	end
end

local function one_line(message)
	return (tostring(message):gsub("%s*\n%s*", " "));
end

-- What was found out about trochee.so: nil before it was tried, then whether it serves
local serves;

local function fall_back(reason)
	serves = false;
	require "util.logger".init("trochee")("error", "trochee cannot be loaded, so Prosody's own backend serves: %s", one_line(reason));
end

-- Loads trochee.so, at the first use in Prosody
local function available()
	if serves ~= nil then
		return serves;
	end
	if not root then
		fall_back(("%s was given as a relative path; LUA_INIT or RunScript must name it by the whole path"):format(file));
		return serves;
	end
	local made_for, this = dofile(root.."/trochee/made_for.lua"), jit and "LuaJIT" or _VERSION; -- luacheck: ignore 113/jit
	if this ~= made_for then
		fall_back(("it is made for %s, and this is %s"):format(made_for, this));
	else
		local reason = unfit(find("trochee", package.cpath) or root.."/trochee.so");
		local ok, why = true, reason;
		if not reason then
			ok, why = pcall(require, "trochee");
		end
		if reason or not ok then
			fall_back(why);
		else
			serves = true;
		end
	end
	return serves;
end

local function take(name, replacement)
	local function load(asked)
		if is_prosody() and available() then
			local ok, result = pcall(require, replacement);
			if ok then
				return result;
			end
			fall_back(result);
		end
		return others(asked);
	end
	package.preload[name] = load;
	package.preload["prosody."..name] = load;
end

take("net.server_epoll", "trochee.stock.epoll");
take("net.server_event", "trochee.stock.event");
take("net.server_select", "trochee.stock.select");
take("util.poll", "trochee.util_poll");

-- Prosody tries luaevent out before it asks for net.server_event, which has no use for it here and drops what Prosody got.
-- Everybody else gets the real one, or is told that there is none
package.preload["luaevent.core"] = function (name)
	for level = 2, 8 do
		local caller = debug.getinfo(level, "S");
		if caller and caller.source:match("net/server%.lua$") and available() then
			return require "trochee.stock.luaevent";
		end
	end
	return others(name);
end

if root then
	package.path = package.path..";"..root.."/?.lua";
	package.cpath = package.cpath..";"..root.."/?.so";
end

-- RunScript in a configuration that is read again: whatever serves now cannot be replaced
if package.loaded["net.server"] then
	require "util.logger".init("trochee")("warn", "Prosody's backends will be trochee's after a restart");
end
