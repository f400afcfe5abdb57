-- What trochee and Prosody have to tell each other. A global module, which is loaded with trochee: see trochee/prosody.lua.

module:set_global();

if not require "net.server".describe_stats then
	module:log("warn", "Prosody runs on another network backend than trochee, so this module does nothing");
	return;
end

local state = require "trochee.state";
local stop_asking = module:require "authentication";
module:require "statistics";
local remove_from_shell = module:require "shell";
local close_socket = module:require "stats_socket";

state.session_of = module:require "known".session_and_log;

function module.unload()
	state.session_of = nil;
	stop_asking();
	remove_from_shell();
	close_socket();
end
