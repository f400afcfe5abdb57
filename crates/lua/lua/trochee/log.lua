-- Where messages go: Prosody's log where there is one, else standard error.

local unpack = require "trochee.compat".unpack;

local has_logger, logger = pcall(require, "util.logger");
if has_logger then
	return logger.init;
end

local everything = os.getenv("TROCHEE_LOG") == "debug";
local wanted = { debug = everything, info = everything, warn = true, error = true };

-- As util.logger: takes a name, and returns a function (level, format, ...)
return function (name)
	return function (level, format, ...)
		if wanted[level] then
			-- A message that cannot be formatted is logged as it is
			local arguments = { ... };
			for i = 1, select("#", ...) do
				-- Lua 5.1 does not ask for the text of an object by itself
				arguments[i] = type(arguments[i]) == "number" and arguments[i] or tostring(arguments[i]);
			end
			local ok, text = pcall(string.format, format, unpack(arguments));
			io.stderr:write(name, "\t", level, "\t", ok and text or tostring(format), "\n");
		end
	end
end
