-- What trochee counts, among Prosody's statistics.
--
-- The names are those of docs/counters.md: prosody_mod_trochee__accepted_total, prosody_mod_trochee__received_bytes_total. Every new
-- counter is here by itself. How many connections there are by stage is prosody_mod_trochee__connections.

local server = require "net.server";

local units = { bytes = true, seconds = true };

local counters = {};
for name, about in pairs(server.describe_stats()) do
	local base, unit = name:match("^(.+)_(%a+)$");
	if not units[unit] then
		base, unit = name, "";
	end
	counters[name] = module:metric("counter", base, unit, about):with_labels();
end

local connections = module:metric("gauge", "connections", "", "Connections by how far they have got.", { "stage" });

module:hook("stats-update", function ()
	for name, value in pairs(server.stats()) do
		counters[name]:set(value);
	end
	for stage, count in pairs(server.stages()) do
		connections:with_labels(stage):set(count);
	end
end);
