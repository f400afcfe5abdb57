-- How much a read of a listener may take: what its module or the operator has chosen.
--
-- Prosody's core.portmanager gives a number to each port. It is 4096 where neither the module (default_mode) nor the operator
-- (network_default_read_size) has chosen one, and then nobody means it as a bound.

local loaded = package.loaded;

local PORTMANAGERS_OWN = 4096;

return function (read_size, listeners)
	local config = loaded["core.configmanager"];
	if read_size == PORTMANAGERS_OWN and config and not (listeners and listeners.default_mode)
		and config.get("*", "network_default_read_size") == nil then
		return nil;
	end
	return read_size;
end
