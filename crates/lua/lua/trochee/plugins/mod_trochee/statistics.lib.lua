-- What trochee counts, among Prosody's statistics.
--
-- The names are those of docs/counters.md: prosody_mod_trochee__accepted_total, prosody_mod_trochee__received_bytes_total. Every new
-- counter is here by itself, and so is every gauge, histogram and tally: prosody_mod_trochee__descriptors. How many connections there
-- are by stage is prosody_mod_trochee__connections.

local server = require "net.server";
local known = module:require "known";

local units = { bytes = true, seconds = true };

local function family(kind, name, about, labels, extra)
	local unit = name:match("_(%a+)$");
	if units[unit] then
		name = name:sub(1, -#unit - 2);
	else
		unit = "";
	end
	return module:metric(kind, name, unit, about, labels, extra);
end

-- The metric for a counter or gauge of the engine, and what its numbers are divided by: OpenMetrics has seconds alone
local function metric(kind, name, about)
	local base, nanoseconds = name:gsub("_nanoseconds$", "_seconds");
	return {
		numbers = family(kind, base, about):with_labels();
		divisor = nanoseconds > 0 and 1e9 or nil;
	};
end

local counters, gauges, histograms, tallies = {}, {}, {}, {};
for name, about in pairs(server.describe_stats()) do
	counters[name] = metric("counter", name, (about:gsub("^Nanoseconds", "Seconds")));
end
for name, about in pairs(server.describe_gauges()) do
	gauges[name] = metric("gauge", name, about);
end

local described = server.describe_histograms();
for name, found in pairs(server.histograms()) do
	histograms[name] = family("histogram", name, described[name], {}, { buckets = found.bounds }):with_labels();
end
for name, found in pairs(server.describe_tallies()) do
	tallies[name] = family("counter", name, found.about, { found.label });
end

local connections = family("gauge", "connections", "Connections by how far they have got.", { "stage" });
local threads = family("counter", "thread_busy_seconds", "Seconds that each thread was busy: 0 is Prosody's own.", { "thread" });
local place = { "service", "address", "port" };
local of_listeners = {
	accepted = family("counter", "listener_accepted", "Connections that each listener accepted.", place);
	refused = family("counter", "listener_refused", "Connections that each listener refused at once.", place);
	open = family("gauge", "listener_connections", "Connections of each listener that are not over.", place);
};

local function set(metrics, values)
	for name, value in pairs(values) do
		local found = metrics[name];
		found.numbers:set(found.divisor and value / found.divisor or value);
	end
end

-- Prosody's own histograms take samples, and have their numbers in themselves. Another provider may keep them elsewhere, as that of
-- statsd does, and has none of these
local function set_histogram(metric, found)
	if metric._impl or type(metric._sum) ~= "number" then
		return;
	end
	for i, count in ipairs(found.counts) do
		metric[i].count = count;
	end
	metric._sum, metric._count = found.sum, found.counts[#found.counts];
end

-- What a listener had that is closed now is there for as long as Prosody runs
local gone = {};

local function set_listeners()
	for key, labels in pairs(gone) do
		of_listeners.open:with_labels(labels[1], labels[2], labels[3]):set(0);
		gone[key] = nil;
	end
	for _, found in ipairs(known.listeners()) do
		local service, address, port = found.service, found.address, tostring(found.port or "");
		for what, numbers in pairs(of_listeners) do
			numbers:with_labels(service, address, port):set(found[what]);
		end
		gone[service.." "..address.." "..port] = { service, address, port };
	end
end

module:hook("stats-update", function ()
	set(counters, server.stats());
	set(gauges, server.gauges());
	for name, found in pairs(server.histograms()) do
		set_histogram(histograms[name], found);
	end
	for name, kinds in pairs(server.tallies()) do
		for kind, count in pairs(kinds) do
			tallies[name]:with_labels(kind):set(count);
		end
	end
	for number, of_thread in ipairs(server.thread_stats()) do
		threads:with_labels(tostring(number - 1)):set(of_thread.busy_nanoseconds / 1e9);
	end
	set_listeners();
	for stage, count in pairs(server.stages()) do
		connections:with_labels(stage):set(count);
	end
end);
