-- What the files of this backend share: one core, and the tables that turn its keys into Lua values.
--
-- net.server is one per process, so this is too. Nothing is opened here: Prosody forks after loading.

local native = require "trochee";
local log = require "trochee.log" "server_trochee";

local state = {
	core = native.new();
	events = native.events;
	log = log;

	-- key -> connection, listener or watch. The loop of a server that quits runs until this is empty
	handles = {};
	-- key -> signal
	signals = {};

	-- Prosody's mod_trochee puts a function here: the name of the session of a connection, and the name of its lines in the log; nil
	session_of = nil;

	-- The settings in force, by name. This table is filled below, and never replaced, so that other files may keep it
	settings = {};
};

-- Takes over the table network_settings of a configuration; what is wrong with it goes to the log
function state.configure(network_settings)
	local settings, messages = state.core.configure(network_settings);
	for name, value in pairs(settings) do
		state.settings[name] = value;
	end
	for _, message in ipairs(messages) do
		log(message[1], "%s", message[2]);
	end
end

state.configure({});

return state;
