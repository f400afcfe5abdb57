-- What `trochee check --prosody` wants to know of a configuration, as Prosody itself reads it.
--
-- The command starts prosodyctl with this file as LUA_INIT. prosodyctl reads the configuration, becomes the user of the service and
-- loads the network backend, as it does for any command. Then it looks around here instead, and ends. Each line that the
-- command understands begins with "trochee-check"; what Prosody itself prints or logs goes between them.

local root = debug.getinfo(1, "S").source:match("^@(/.*)/trochee/check%.lua$");

dofile(root.."/trochee/takeover.lua");

-- One line for the command: fields with a tab between them
local function tell(...)
	local fields = { "trochee-check", ... };
	for i, field in ipairs(fields) do
		fields[i] = tostring(field):gsub("%s+", " ");
	end
	io.write(table.concat(fields, "\t"), "\n");
end

-- level: "ok", "advice" for what could be better, "problem" for what does not work
local function fact(level, subject, state, advice)
	tell("fact", level, subject, state, advice or "");
end

local function run()
	for _, part in ipairs { "settings", "modules", "certificates" } do
		local ok, err = xpcall(require("trochee.check."..part), debug.traceback, fact, tell);
		if not ok then
			fact("problem", part, "this part of the check failed: "..tostring(err), "report it, please");
		end
	end
	tell("end");
	io.stdout:flush();
	os.exit(0);
end

-- prosodyctl asks for this first, by the name of its version
local function startup(asked)
	package.preload["util.startup"], package.preload["prosody.util.startup"] = nil, nil;
	local loaded = require(asked);
	local begin = loaded.prosodyctl;
	function loaded.prosodyctl(...)
		begin(...);
		run();
	end
	return loaded;
end

package.preload["util.startup"], package.preload["prosody.util.startup"] = startup, startup;
