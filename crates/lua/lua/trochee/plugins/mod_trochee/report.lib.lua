-- All that there is to tell at one moment, as one table: what trochee top shows. crates/cli/src/statistics/report.rs reads it.

local server = require "net.server";
local array = require "util.array";
local now = require "util.time".now;
local state = require "trochee.state";
local recent = require "trochee.recent";
local slow = require "trochee.slow";
local version = require "trochee"._VERSION;
local known = module:require "known";

local core, handles = state.core, state.handles;

-- What Prosody knows takes the place of the key, which means something in this process alone
local function describe(connections)
	local services, rows = known.services(), array();
	for _, info in ipairs(connections) do
		local conn = handles[info.key];
		if conn then
			info.key = nil;
			info.id = tostring(conn.id);
			info.address, info.port = conn.peername, tonumber(conn.peerport);
			info.service = known.service(conn, services);
			info.session = known.session(conn);
			rows:push(info);
		end
	end
	return rows;
end

-- The meter knows what was busy since it was asked last. Of connections and addresses there are at most so many in each order
return function (meter, most)
	local seen = meter(most);
	return {
		trochee = version;
		serves = "Prosody "..tostring(prosody.version);
		poller = core.backend();
		time = now();
		uptime = now() - prosody.start_time;
		counters = server.stats();
		histograms = server.histograms();
		tallies = server.tallies();
		listeners = array(known.listeners());
		gauges = server.gauges();
		stages = server.stages();
		threads = array(server.thread_stats());
		connections = describe(seen.connections);
		connection_count = seen.connection_count;
		addresses = array(seen.addresses);
		address_count = seen.address_count;
		errors = array(recent.list());
		slow = array(slow.list());
	};
end
