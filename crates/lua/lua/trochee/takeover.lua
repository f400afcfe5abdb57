-- Makes the names of Prosody's own backends mean trochee, in a process that has not loaded one yet:
--
--   LUA_INIT=@/opt/trochee/dist/lua/trochee/takeover.lua      in the environment of prosody and prosodyctl, or
--   RunScript "/opt/trochee/dist/lua/trochee/takeover.lua"    in the configuration file
--
-- LUA_INIT is inherited by whatever Prosody starts, so any other Lua program has to be none the wiser; the versions before
-- 5.4, for which trochee.so is not made, read this file too.

if _VERSION ~= "Lua 5.4" or package.preload["net.server_epoll"] then
	return;
end

local file = debug.getinfo(1, "S").source:sub(2);
local root = file:match("^(/.*)/trochee/takeover%.lua$");

-- What require finds without us
local function others(name)
	local ours = package.preload[name];
	package.preload[name] = nil;
	local ok, result = pcall(require, name);
	package.preload[name] = ours;
	if not ok then
		error(result, 0);
	end
	return result;
end

-- Prosody, prosodyctl, and whatever else runs on Prosody's own libraries
local function is_prosody()
	return package.searchpath("net.server_epoll", package.path) ~= nil;
end

local function take(name, replacement)
	local function load(asked)
		if not is_prosody() then
			return others(asked);
		elseif not root then
			error(("trochee: %s was given as a relative path; LUA_INIT or RunScript must name it by the whole path"):format(file), 0);
		end
		return require(replacement);
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
		if caller and caller.source:match("net/server%.lua$") then
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
