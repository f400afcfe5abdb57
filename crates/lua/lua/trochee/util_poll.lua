-- Prosody's util.poll, the library that its own server_epoll uses, on trochee's pollers.
--
--	local util_poll = require "trochee.util_poll".create { poller = "poll", wait0 = "13.0" }
--
-- gives the table that require "util.poll" would: new, EEXIST, EMFILE, ENOENT, api. To put it in the place of Prosody's, with
-- Prosody's version found when it is asked for:
--
--	local function load() return assert(require "trochee.util_poll".create {}) end
--	package.preload["util.poll"] = load
--	package.preload["prosody.util.poll"] = load
--
-- Options, all of which may be left out:
--	poller  a name as in network_settings.poller. Without it, that of TROCHEE_POLLER in the environment; if that does not work, the
--	        best that does
--	wait0   what wait(0) does when no events are left from the last wait: "0.12" asks the system, "13.0" returns at once. The
--	        server_epoll of each version needs its own. Without it, the Prosody in package.path decides
--
-- create returns nil and the reason when the poller that was asked for does not work here. This module itself is the table that
-- create {} returns, with create added.

local native = require "trochee";

local wait0_asks = { ["0.12"] = true, ["13.0"] = false };

-- Which of the two versions package.path leads to. loader.lua came with 13.0
local function prosody_version()
	local path = require "trochee.compat".searchpath("net.server_epoll", package.path);
	local loader = path and io.open((path:gsub("net/server_epoll%.lua$", "loader.lua")));
	if loader then
		loader:close();
		return "13.0";
	end
	return "0.12";
end

local function from_environment(asks)
	local name = os.getenv "TROCHEE_POLLER";
	if name and name ~= "" then
		local module, err = native.util_poll(name, asks);
		if module then
			return module;
		end
		require "trochee.log" "util_poll"("error", "TROCHEE_POLLER = \"%s\": %s; using another", name, err);
	end
	return native.util_poll("auto", asks);
end

local function create(options)
	local wait0 = options.wait0 or prosody_version();
	local asks = wait0_asks[wait0];
	if asks == nil then
		error("wait0 must be \"0.12\" or \"13.0\", not "..tostring(wait0), 2);
	end
	if options.poller then
		return native.util_poll(options.poller, asks);
	end
	return from_environment(asks);
end

local module = assert(create {});
module.create = create;
return module;
