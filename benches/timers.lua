-- Timers that are set and stopped again, as almost all are: every idle limit, every acknowledgement that came in time.
--
-- usage: lua5.4 timers.lua BACKEND COUNT
--
-- Each round adds COUNT timers with spread deadlines and stops them all; the loop turns between rounds, so work that a
-- backend puts off to its turn is counted too. Prints one line of JSON.

local here = arg[0]:match("^(.*)/") or ".";
local backend, count = arg[1], tonumber(arg[2]);
local server = dofile(here .. "/backend.lua")(backend);
local timer = server.timer or require "util.timer"; -- util.timer builds them on add_task where a backend has none

-- The select backend looks at its timers once in select_timeout, by default one second.
if server.changesettings then server.changesettings({ select_timeout = 0.001 }); end

local rounds, warm_up = 5, 1;
local ids, started = {}, nil;
local function never() error("a stopped timer fired"); end

local function round(n)
	if n == warm_up then started = os.clock(); end
	if n == warm_up + rounds then
		local spent = os.clock() - started; -- CPU time of the whole process
		print(("{\"backend\": %q, \"cpu_us\": %.4f}"):format(
			server.get_backend(), spent * 1e6 / (rounds * count)));
		os.exit(0);
	end
	for i = 1, count do
		-- 7919 is prime: deadlines come in no order, between one and sixteen minutes from now.
		ids[i] = timer.add_task(60 + (i * 7919) % 900, never);
	end
	for i = 1, count do
		timer.stop(ids[i]);
	end
	server.add_task(0.001, function () round(n + 1); end);
end

server.add_task(0.001, function () round(0); end);
server.loop();
