-- Lines for the global section of /etc/prosody/prosody.cfg.lua, above the first VirtualHost, with trochee's defaults.
-- None is needed. docs/settings.md has all settings, with their units.

network_settings = {
	-- Threads that accept, do TLS and read and write sockets beside Lua's; a number, or "auto". It counts after a restart.
	io_threads = 0;
	-- Seconds in which a peer may say nothing before it is asked, or disconnected.
	read_timeout = 14 * 60;
}

-- Leave out `gc`, and trochee has Lua's collector work in smaller steps.
