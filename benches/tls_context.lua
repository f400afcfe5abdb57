-- A LuaSec context with Prosody's own defaults, from Prosody's own core.certmanager: protocols, ciphers, options and all.
-- To be called after the backend is loaded, as Prosody does it: trochee learns from LuaSec what a context is made of.

return function (certificate) -- path without .crt and .key
	local source = os.getenv("PROSODY_SOURCEDIR") or "/usr/lib/prosody";
	package.path = source .. "/?.lua;" .. package.path;
	package.cpath = source .. "/?.so;" .. package.cpath;
	prosody = { paths = {}; events = { add_handler = function () end } }; -- luacheck: ignore 111/prosody
	local certmanager = require "core.certmanager";
	local files = { certificate = certificate .. ".crt"; key = certificate .. ".key" };
	return assert(certmanager.create_context("localhost", "server", files));
end
