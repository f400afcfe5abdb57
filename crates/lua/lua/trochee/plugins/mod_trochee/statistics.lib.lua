-- What trochee counts, among Prosody's statistics.
--
-- The names are those of docs/counters.md: prosody_mod_trochee__accepted_total, prosody_mod_trochee__received_bytes_total. Every new
-- counter is here by itself, and so is every gauge: prosody_mod_trochee__descriptors. How many connections there are by stage is
-- prosody_mod_trochee__connections.

local server = require "net.server";

local units = { bytes = true, seconds = true };

-- The metric for a counter or gauge of the engine, and what its numbers are divided by: OpenMetrics has seconds alone
local function metric(kind, name, about)
	local base, nanoseconds = name:gsub("_nanoseconds$", "_seconds");
	local unit = base:match("_(%a+)$");
	if units[unit] then
		base = base:sub(1, -#unit - 2);
	else
		unit = "";
	end
	return {
		numbers = module:metric(kind, base, unit, about):with_labels();
		divisor = nanoseconds > 0 and 1e9 or nil;
	};
end

local counters, gauges = {}, {};
for name, about in pairs(server.describe_stats()) do
	counters[name] = metric("counter", name, (about:gsub("^Nanoseconds", "Seconds")));
end
for name, about in pairs(server.describe_gauges()) do
	gauges[name] = metric("gauge", name, about);
end

local connections = module:metric("gauge", "connections", "", "Connections by how far they have got.", { "stage" });

local function set(metrics, values)
	for name, value in pairs(values) do
		local found = metrics[name];
		found.numbers:set(found.divisor and value / found.divisor or value);
	end
end

module:hook("stats-update", function ()
	set(counters, server.stats());
	set(gauges, server.gauges());
	for stage, count in pairs(server.stages()) do
		connections:with_labels(stage):set(count);
	end
end);
