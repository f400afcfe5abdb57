-- What a day shows, as far as seconds can: that nothing grows.

local t = require "harness"
local lfs = require "lfs"

local function descriptors()
	local count = 0
	for _ in lfs.dir("/proc/self/fd") do
		count = count + 1
	end
	return count
end

local function resident_kib(s)
	return tonumber(s.read_file("/proc/self/status"):match("VmRSS:%s*(%d+)"))
end

t.item(103, "hundreds of connections and thousands of timers leave no descriptor, timer or memory behind; idle costs no CPU",
function (s)
	local begun, over = 0, 0
	local listeners = {
		onconnect = function () begun = begun + 1 end;
		onincoming = function (conn, data) conn:write(data) end;
		ondisconnect = function () over = over + 1 end;
	}
	local server, port = s.listen(listeners)
	local function churn(count)
		for i = 1, count do
			local peer = s.peer(port)
			local data = ("%08d"):format(i)
			s.ok(peer:send(data))
			s.eq(peer:receive_until(8), data)
			peer:close()
			for _ = 1, 10 do
				s.timer.stop(s.timer.add_task(3600, function () end))
			end
		end
		s.wait(function () return over == begun end, 10, "ondisconnect of all")
		-- What was logged is the suite's to keep.
		for i = #s.log, 1, -1 do s.log[i] = nil end
		collectgarbage()
		collectgarbage()
	end

	churn(150)
	local fds, lua, resident = descriptors(), collectgarbage("count"), resident_kib(s)
	churn(600)
	s.eq(begun, 750, "connections")
	s.wait(function () return descriptors() <= fds end, 10, "no more descriptors than before")
	s.ok(collectgarbage("count") - lua < 128, ("Lua's memory grew by %.0f KiB"):format(collectgarbage("count") - lua))
	s.ok(resident_kib(s) - resident < 5 * 1024, ("resident memory grew by %d KiB"):format(resident_kib(s) - resident))

	-- The suite's own timer goes on meanwhile.
	local cpu = s.cpu()
	s.sleep(1)
	s.ok(s.cpu() - cpu < 0.25, ("%.3f s of CPU in an idle second"):format(s.cpu() - cpu))
	server:close()
end, { limit = 60 })
