-- Writing: items 53 to 62 of the contract.

local t = require "harness"

local KiB, MiB = 1024, 1024 * 1024

-- Lets the kernel hold only little on the peer's side, so that what is not read stays with the backend. Linux lets
-- the window of a connection grow to tcp_rmem's maximum (often 32 MB) otherwise.
local function slow(peer)
	assert(peer.sock:setoption("recv-buffer-size", 65536))
	return peer
end

-- 1 MiB pieces that differ from each other. Kept, for making them costs more than sending them.
local pieces = {}
local function piece(i)
	if not pieces[i] then
		pieces[i] = ("%08d"):format(i):rep(math.floor(MiB / 8))
	end
	return pieces[i]
end

-- Reads `total` bytes, at most `per_step` bytes per turn of the loop, and hands each part with its offset to `check`.
local function read_slowly(s, peer, total, per_step, check)
	local got = 0
	local deadline = s.now() + 60
	while got < total do
		local data, err, partial = peer.sock:receive(math.min(per_step, total - got))
		data = data or partial
		if data ~= "" then
			check(got, data)
			got = got + #data
		elseif err ~= "timeout" then
			s.fail(("the stream ended after %d of %d bytes: %s"):format(got, total, err))
		elseif s.now() > deadline then
			s.fail(("only %d of %d bytes came"):format(got, total))
		end
		s.sleep(0)
	end
end

-- `data` must be what stands at `offset` of the concatenated pieces.
local function check_piece(s, offset, data)
	while data ~= "" do
		local start = offset % MiB
		local part = data:sub(1, MiB - start)
		if part ~= piece(math.floor(offset / MiB)):sub(start + 1, start + #part) then
			s.fail(("wrong bytes at offset %d"):format(offset))
		end
		offset = offset + #part
		data = data:sub(#part + 1)
	end
end

-- What a successful write() returns.
local function written(s, data)
	if s.name == "event" or s.name == "select" then
		return true
	end
	return #data
end

t.item(53, "return values of write; write in onconnect, onincoming, ondrain, onpredrain, ondisconnect", function (s)
	local predrains, drains = 0, 0
	local results = {}
	local conn, peer, rec = s.pair({
		onconnect = function (c)
			results.onconnect = c:write("connect ")
		end,
		onincoming = function (c)
			results.onincoming = c:write("incoming ")
		end,
		onpredrain = function (c)
			predrains = predrains + 1
			if predrains == 1 then
				results.onpredrain = c:write("predrain ")
			end
		end,
		ondrain = function (c)
			drains = drains + 1
			if drains <= 2 then
				results.ondrain = c:write("drain ")
			end
		end,
		ondisconnect = function (c)
			results.ondisconnect = table.pack(c:write("too late"))
		end,
	})
	s.eq(peer:receive_until(#"connect predrain drain drain "), "connect predrain drain drain ")
	s.wait(function () return drains == 3 end, 5, "the last ondrain")
	peer:send("x")
	s.eq(peer:receive_until(#"incoming "), "incoming ")
	s.eq(results.onconnect, written(s, "connect "), "write in onconnect")
	s.eq(results.onincoming, written(s, "incoming "), "write in onincoming")
	s.eq(results.onpredrain, written(s, "predrain "), "write in onpredrain")
	s.eq(results.ondrain, written(s, "drain "), "write in ondrain")

	s.eq(conn:write("hello"), written(s, "hello"), "write outside of callbacks")
	s.eq(conn:write(""), written(s, ""), "write of nothing")
	s.eq(peer:receive_until(5), "hello")
	conn:close()
	s.wait(function () return rec.disconnects[conn] end, 5, "ondisconnect")
	s.ok(not results.ondisconnect[1], "write in ondisconnect is falsy")
	s.ok(not conn:write("closed"), "write after close() is falsy")
	s.ok(peer:closed(), "the peer sees the end")
	s.eq(peer:read_available(), "", "bytes after close()")

	-- The same after the peer closed.
	conn, peer, rec = s.pair({
		ondisconnect = function (c)
			results.ondisconnect = table.pack(c:write("too late"))
		end,
	})
	results.ondisconnect = nil
	peer:close()
	s.wait(function () return rec.disconnects[conn] end, 5, "ondisconnect")
	s.ok(not results.ondisconnect[1], "write in ondisconnect after the peer closed is falsy")
	s.eq(rec.disconnects[conn].n, 1)
end, { stock = {
	["epoll-13"] = { "write() takes data for a connection that the peer has closed, and drops it",
		match = "write in ondisconnect after the peer closed" },
} })

t.item(54, "order of many writes is preserved; 100 MB to a slow reader without quadratic cost", function (s)
	-- Many small ones first.
	s.settings({ max_send_buffer_size = 256 * MiB })
	local conn, peer = s.pair()
	local expected = {}
	for i = 1, 20000 do
		expected[i] = ("%06d\n"):format(i)
		s.ok(conn:write(expected[i]), "write")
	end
	expected = table.concat(expected)
	s.ok(peer:receive_until(#expected) == expected, "20000 small writes in order")
	conn:close()

	-- CPU seconds, of both ends, for `megabytes` that wait in the backend until the peer has read them.
	local function cost(megabytes, most)
		local conn, peer = s.pair()
		slow(peer)
		-- Many partial sends instead of a few huge ones. What the backend thinks of the option does not matter.
		conn:setoption("send-buffer-size", 256 * KiB)
		for i = 0, megabytes - 1 do
			piece(i)
		end
		collectgarbage()
		local before = s.cpu()
		for i = 0, megabytes - 1 do
			s.ok(conn:write(piece(i)), "write")
		end
		read_slowly(s, peer, megabytes * MiB, 256 * KiB, function (offset, data)
			check_piece(s, offset, data)
			local spent = s.cpu() - before
			if spent > most then
				s.fail(("the cost grows faster than the data: %.2f s after %d of %d MB, %.2f s were allowed"):format(
					spent, math.floor(offset / MiB), megabytes, most))
			end
		end)
		conn:close()
		return s.cpu() - before
	end

	local small = cost(10, 10)
	-- Linear is 10 times as much, quadratic 100 times; two seconds for 100 MB are all right in any case, since hundredths
	-- of a second cannot be told apart well.
	local large = cost(100, math.max(small * 15, 2))
	s.note(("CPU: %.2f s for 10 MB, %.2f s for 100 MB"):format(small, large))
end, { limit = 60, stock = {
	epoll = { "copies the whole rest of the buffer after each partial send", match = "cost grows faster" },
	["epoll-13"] = false,
	event = { "copies the whole rest of the buffer after each partial send", match = "cost grows faster" },
	select = { "copies the whole rest of the buffer after each partial send", match = "cost grows faster" },
} })

t.item(55, "predrain data in the same flush; ondrain only when empty; send_file of 64 MB (for 1 GB) by net.http.server",
function (s)
	local predrains, drains = 0, 0
	local conn, peer, rec = s.pair({
		onpredrain = function (c)
			predrains = predrains + 1
			if predrains == 1 then
				c:write(" and predrain")
			end
		end,
		ondrain = function ()
			drains = drains + 1
		end,
	})
	conn:write("payload")
	s.eq(peer:receive_until(20), "payload and predrain")
	s.wait(function () return drains > 0 end, 5, "ondrain")
	s.sleep(0.05)
	-- Had it missed the flush, it would have needed another one.
	s.eq(predrains, 1, "flushes")
	s.eq(drains, 1, "ondrain")

	conn, peer, rec = s.pair()
	slow(peer)
	local data = {}
	for i = 0, 15 do
		data[i + 1] = piece(i)
		conn:write(data[i + 1])
	end
	s.sleep(0.15)
	s.eq(rec.count("ondrain", conn), 0, "ondrain while data waits")
	read_slowly(s, peer, 16 * MiB, 512 * KiB, function (offset, part)
		if offset + #part < 8 * MiB then
			s.eq(rec.count("ondrain", conn), 0, "ondrain after less than half of the data")
		end
		check_piece(s, offset, part)
	end)
	s.wait(function () return rec.count("ondrain", conn) > 0 end, 5, "ondrain once everything was read")
	s.sleep(0.05)
	s.eq(rec.count("ondrain", conn), 1, "ondrain")
	conn:close()

	-- Prosody's own HTTP server: send_file writes the next block in each ondrain.
	local http = require "net.http.server"
	local blocks = math.floor(64 * MiB / 65536)
	local block = piece(7):sub(1, 65536)
	local closed_files = 0
	http.add_handler("GET /file", function (event)
		local left = event.request.url.query == "small" and 1 or blocks
		event.response.headers.content_length = ("%d"):format(left * #block)
		local file = {}
		function file:read(size)
			s.eq(size, 65536, "the block size of send_file")
			if left > 0 then
				left = left - 1
				return block
			end
		end
		function file:close()
			closed_files = closed_files + 1
		end
		return event.response:send_file(file)
	end)
	local port = s.free_port()
	s.ok(http.listen_on(port, "127.0.0.1"), "net.http.server listens")
	local client = s.peer(port)
	client:send("GET /file HTTP/1.1\r\nHost: localhost\r\n\r\n")
	local head = ""
	repeat
		local line, _, partial = client.sock:receive("*l")
		if line then
			head = head..line.."\n"
		else
			s.eq(partial, "", "HTTP head in one piece")
			s.sleep(0)
		end
	until line == ""
	s.ok(head:match("^HTTP/1.1 200 OK\n"), "HTTP status")
	s.eq(head:match("Content%-Length: (%d+)"), tostring(64 * MiB), "Content-Length")
	read_slowly(s, client, 64 * MiB, 4 * MiB, function (offset, part)
		local start = offset % 8
		local pattern = block:sub(start + 1, start + 8)
		s.ok(part == pattern:rep(math.floor(#part / 8) + 1):sub(1, #part), "the file's bytes")
	end)
	s.eq(closed_files, 1, "the file is closed")
	-- The connection is kept alive and serves another one.
	client:send("GET /file?small HTTP/1.1\r\nHost: localhost\r\n\r\n")
	local response = client:receive_until(function (all)
		local body = all:match("\r\n\r\n(.*)$")
		return body and #body == #block
	end)
	s.ok(response, "the second response")
	client:close()
	s.eq(closed_files, 2, "the second file is closed")
end, { limit = 40 })

t.item(56, "pause_writes holds, resume_writes flushes; nested and duplicate calls; close() while paused flushes",
function (s)
	local conn, peer, rec = s.pair()
	conn:resume_writes() -- nothing to resume
	conn:pause_writes()
	conn:write("held ")
	conn:write("back")
	s.sleep(0.1)
	s.eq(peer:read_available(), "", "bytes while writes are paused")
	-- Reading goes on meanwhile.
	peer:send("ping")
	s.wait(function () return rec.data[conn] == "ping" end, 5, "data while writes are paused")
	conn:pause_writes()
	conn:resume_writes() -- one is enough, they do not nest
	s.eq(peer:receive_until(9), "held back")
	conn:resume_writes()
	conn:write("!")
	s.eq(peer:receive_until(1), "!")

	-- With nothing to hold.
	conn:pause_writes()
	s.sleep(0.02)
	conn:resume_writes()
	conn:write("?")
	s.eq(peer:receive_until(1), "?")

	-- Paused before its first write, closed with a part of the data sent.
	conn:pause_writes()
	conn:write("last words")
	s.eq(peer:read_available(), "", "bytes before close()")
	conn:close()
	local words = peer:receive_until(10)
	s.eq(words, "last words", "close() flushes although writes are paused")
	s.ok(peer:closed(), "the peer sees the end")
	s.wait(function () return rec.disconnects[conn] end, 5, "ondisconnect")
	s.eq(rec.disconnects[conn].n, 1, "ondisconnect")
	conn:pause_writes()
	conn:resume_writes()
end, { stock = {
	event = { "close() discards what is queued while writes are paused", match = "close%(%) flushes although" },
	select = { "pause_writes() of a closed connection raises", match = "table index is nil" },
} })

t.item(57, "overflow: limit honoured, write gives false, one ondisconnect(\"no space left in buffer\")", function (s)
	local limit = 1 * MiB
	s.settings({ max_send_buffer_size = limit })
	-- As much as the limit itself is fine.
	local conn, peer, rec = s.pair()
	s.ok(conn:write(("x"):rep(limit)), "a write as large as the limit")
	s.ok(peer:receive_until(limit) == ("x"):rep(limit), "what was written")
	s.eq(rec.disconnects[conn], nil, "ondisconnect")

	conn, peer, rec = s.pair()
	slow(peer)
	local block = ("y"):rep(128 * KiB)
	local accepted, result, err = 0, nil, nil
	repeat
		result, err = conn:write(block)
		if result then
			accepted = accepted + #block
		end
	until not result or accepted >= 64 * MiB
	s.ok(not result, "there is a limit")
	s.note(("%d KiB accepted for a limit of %d KiB"):format(math.floor(accepted / KiB), math.floor(limit / KiB)))
	s.ok(accepted >= limit - #block, "the limit is not lower than it says")
	-- The kernel may have taken some of it: tcp_wmem's maximum on our side and the peer's small buffer.
	s.ok(accepted <= limit + 8 * MiB, "the limit is not much higher than it says")
	s.eq(result, false, "what write returns")
	s.wait(function () return rec.disconnects[conn] end, 5, "ondisconnect")
	s.sleep(0.1)
	s.eq(rec.disconnects[conn].n, 1, "calls of ondisconnect")
	s.eq(rec.disconnects[conn][1], "no space left in buffer", "the reason")
	s.ok(not conn:write("more"), "write afterwards is falsy")
	s.ok(peer:closed(), "the peer sees the end")
end, { stock = {
	epoll = { "not offered: max_send_buffer_size, which came with 13.0", match = "there is a limit" },
	["epoll-13"] = { "write() takes data for a connection that ended by overflow, and drops it", match = "write afterwards is falsy" },
	event = { "write() gives nil and an error, the connection stays as it is", match = "what write returns" },
	select = { "calls ondisconnect twice on overflow", match = "calls of ondisconnect" },
} })

t.item(58, "close() flushes; write afterwards falsy; second close() harmless; FIN after all data", function (s)
	-- Nothing pending: it is over when close() returns.
	local conn, peer, rec = s.pair()
	conn:close()
	s.ok(rec.disconnects[conn], "ondisconnect inside close()")
	s.ok(not rec.disconnects[conn][1], "a local close has no error")
	s.ok(not conn:write("x"), "write after close()")
	conn:close()
	s.ok(peer:closed(), "FIN")
	s.eq(rec.disconnects[conn].n, 1, "calls of ondisconnect")

	-- A little pending.
	conn, peer, rec = s.pair()
	conn:write("bye")
	conn:close()
	s.eq(peer:receive_until(3), "bye")
	s.ok(peer:closed(), "FIN after a little")
	s.wait(function () return rec.disconnects[conn] end, 5, "ondisconnect")
	s.ok(not rec.disconnects[conn][1], "a local close has no error")

	-- More than the kernel takes at once.
	for _, second_close in ipairs { false, true } do
		local size = 16 * MiB
		conn, peer, rec = s.pair()
		slow(peer)
		for i = 0, 15 do
			conn:write(piece(i))
		end
		conn:close()
		s.eq(rec.disconnects[conn], nil, "ondisconnect before the data is gone")
		if second_close then
			s.ok(not conn:write("x"), "write after close() with data pending")
			conn:close()
		end
		read_slowly(s, peer, size, 512 * KiB, function (offset, data)
			check_piece(s, offset, data)
		end)
		s.ok(peer:closed(), "FIN after all data")
		s.eq(peer:read_available(), "", "bytes after the data")
		s.wait(function () return rec.disconnects[conn] end, 5, "ondisconnect")
		s.sleep(0.02)
		s.eq(rec.disconnects[conn].n, 1, "calls of ondisconnect")
		s.ok(not rec.disconnects[conn][1], "a local close has no error")
	end

	-- The peer is still talking, as an XMPP client is that answers </stream:stream>. Closing a socket with bytes unread
	-- sends RST (RFC 2525, 2.17), and that makes the peer's kernel throw away what it has not read yet.
	conn, peer, rec = s.pair()
	slow(peer)
	for i = 0, 15 do
		conn:write(piece(i))
	end
	conn:close()
	peer:send("and here is what I still wanted to say")
	local data, err, partial = peer:receive_until(16 * MiB, 5)
	s.eq(#(data or partial), 16 * MiB, ("bytes of 16 MiB for a peer that is still talking (%s)"):format(err))
	s.ok(peer:closed(), "FIN after all data")
	s.wait(function () return rec.disconnects[conn] end, 5, "ondisconnect")
	s.eq(rec.data[conn], "", "data after close()")
end, { stock = {
	event = { "leaves unread what comes during the flush, so that RST follows the data and the end of it is lost",
		match = "still talking" },
	epoll = { "a second close() discards what is pending", match = "ended after" },
	["epoll-13"] = { "leaves unread what comes during the flush, so that RST follows the data and the end of it is lost",
		match = "still talking" },
	select = { "write is nil after close() with data pending: calling it raises", match = "attempt to call a nil value" },
} })

t.item(59, "send_timeout when the peer stops reading: \"write timeout\"", function (s)
	-- Long enough for a machine that is busy with other items, and for a while does not get to this one.
	local send_timeout = 1.6
	s.settings({ send_timeout = send_timeout })
	local reason = "write timeout"
	if s.name == "event" then
		reason = "timeout during writing"
	elseif s.name == "select" then
		reason = "send timeout"
	end

	-- Slow is not stuck.
	local conn, peer, rec = s.pair()
	slow(peer)
	for i = 0, 15 do
		conn:write(piece(i))
	end
	local start = s.now()
	read_slowly(s, peer, 16 * MiB, 512 * KiB, function (offset, data)
		check_piece(s, offset, data)
		-- As much at a time as makes the kernel let the backend write again, and that for longer than send_timeout.
		if offset % MiB + #data >= MiB then
			s.sleep(0.12)
		end
	end)
	s.ok(s.now() - start > send_timeout, "reading took longer than send_timeout")
	s.eq(rec.disconnects[conn], nil, "ondisconnect of a slow connection")
	-- An idle connection has no write timeout.
	s.sleep(send_timeout + 0.2)
	s.eq(rec.disconnects[conn], nil, "ondisconnect of an idle connection")
	conn:close()

	conn, peer, rec = s.pair()
	slow(peer)
	start = s.now()
	for i = 0, 15 do
		conn:write(piece(i))
	end
	s.wait(function () return rec.disconnects[conn] end, 8, "ondisconnect")
	s.ok(s.now() - start > send_timeout - 0.1, "not before its time")
	s.ok(s.now() - start < send_timeout + 4, "not long after its time")
	s.sleep(0.1)
	s.eq(rec.disconnects[conn][1], reason, "the reason")
	s.eq(rec.disconnects[conn].n, 1, "calls of ondisconnect")
end, { stock = {
	select = { "calls ondisconnect twice on timeouts", match = "calls of ondisconnect" },
} })

t.item(60, "opportunistic_writes on and off: equal results, no re-entrancy", function (s)
	local function run(opportunistic)
		s.settings({ opportunistic_writes = opportunistic })
		local running = {} -- callback -> how often it is on the stack
		local deepest = {}
		local drain_writes, predrain_writes = {}, {}
		local overrides = {}
		local function callback(name, f)
			overrides[name] = function (c, ...)
				running[name] = (running[name] or 0) + 1
				deepest[name] = math.max(deepest[name] or 0, running[name])
				if f then f(c, ...) end
				running[name] = running[name] - 1
			end
		end
		callback("onconnect", function (c)
			c:write("connect ")
		end)
		callback("onincoming", function (c, data)
			for word in data:gmatch("%S+") do
				c:write(word:upper().." ")
			end
		end)
		callback("onpredrain", function (c)
			local data = table.remove(predrain_writes, 1)
			if data then c:write(data) end
		end)
		callback("ondrain", function (c)
			local data = table.remove(drain_writes, 1)
			if data then c:write(data) end
		end)
		callback("ondisconnect", function (c)
			c:write("too late")
			c:close()
		end)

		local conn, peer, rec = s.pair(overrides)
		local all = { peer:receive_until(8) }
		s.eq(all[1], "connect ")

		table.insert(all, (function ()
			peer:send("several words in one go ")
			return peer:receive_until(24)
		end)())

		-- Each ondrain writes the next one, which drains in turn.
		drain_writes = { "drain1 ", "drain2 ", "drain3 " }
		s.eq(conn:write("start "), written(s, "start "), "write")
		table.insert(all, peer:receive_until(6 + 21))

		predrain_writes = { "predrain " }
		s.ok(conn:write("payload "), "write")
		table.insert(all, peer:receive_until(17))

		-- From a write that has to wait: the flush that ends it comes from the loop.
		slow(peer)
		for i = 0, 7 do
			s.ok(conn:write(piece(i)), "write of a large piece")
		end
		drain_writes = { "drain4 ", "drain5 " }
		read_slowly(s, peer, 8 * MiB, 512 * KiB, function (offset, data)
			check_piece(s, offset, data)
		end)
		table.insert(all, peer:receive_until(14))

		conn:write("bye")
		conn:close()
		table.insert(all, peer:receive_until(3))
		s.ok(peer:closed(), "FIN")
		s.wait(function () return rec.disconnects[conn] end, 5, "ondisconnect")
		s.eq(rec.disconnects[conn].n, 1, "calls of ondisconnect")
		return table.concat(all, "|"), deepest
	end

	local off, off_depth = run(false)
	local on, on_depth = run(true)
	s.eq(off, "connect |SEVERAL WORDS IN ONE GO |start drain1 drain2 drain3 |payload predrain |drain4 drain5 |bye")
	s.eq(on, off, "opportunistic_writes = true")
	for what, depths in pairs { off = off_depth, on = on_depth } do
		for name, depth in pairs(depths) do
			s.eq(depth, 1, ("opportunistic_writes %s: %s inside %s"):format(what, name, name))
		end
		s.ok(depths.onpredrain and depths.ondrain and depths.ondisconnect, "the callbacks ran")
	end
end, { stock = {
	epoll = { "a write in ondrain flushes, and calls ondrain, at once", match = "ondrain inside ondrain" },
} })

t.item(61, "RST and EPIPE while writing: one ondisconnect \"closed\", no SIGPIPE", function (s)
	if s.is_trochee then
		-- LuaSocket ignores SIGPIPE for the whole process; we must not depend on that. Straight from the library:
		-- what `require "util.signal"` gives has been wrapped for the backend.
		local library = package.searchpath("util.signal", package.cpath)
		local signal = package.loadlib(library, "luaopen_util_signal")()
		signal.signal("SIGPIPE")
		local status = io.open("/proc/self/status"):read("*a")
		local ignored = tonumber(status:match("SigIgn:%s*(%x+)"), 16)
		s.eq(math.floor(ignored / 2^12) % 2, 0, "SIGPIPE (13) is not ignored")
	end
	local function check(what, conn, rec)
		s.wait(function () return rec.disconnects[conn] end, 5, what..": ondisconnect")
		s.sleep(0.05)
		s.eq(rec.disconnects[conn].n, 1, what..": calls of ondisconnect")
		s.eq(rec.disconnects[conn][1], "closed", what..": the reason")
		if s.name ~= "epoll" then
			-- Stock epoll's write() goes on to return a length, and drops the data, unless close() was called.
			s.ok(not conn:write("x"), what..": write afterwards")
		end
	end

	-- The reset has arrived, but the loop did not have the time to see it.
	local conn, peer, rec
	for _, opportunistic in ipairs { true, false } do
		s.settings({ opportunistic_writes = opportunistic })
		conn, peer, rec = s.pair()
		peer:reset()
		conn:write("into the void")
		check("RST, then write, opportunistic_writes "..tostring(opportunistic), conn, rec)
	end

	-- In the middle of much data, not reading: only the write side can tell.
	conn, peer, rec = s.pair()
	slow(peer)
	conn:pause()
	for i = 0, 15 do
		conn:write(piece(i))
	end
	s.ok(peer:receive_until(MiB), "the beginning")
	peer:reset()
	check("RST while data waits", conn, rec)

	-- The peer closes with data unread, which answers with RST; the write after that gives EPIPE.
	conn, peer, rec = s.pair({
		ondrain = function (c) c:write(("x"):rep(65536)) end,
	})
	conn:pause()
	conn:write("start")
	s.ok(peer:receive_until(200000), "the stream")
	peer:close()
	check("close with data unread", conn, rec)

	-- The same with two writes in a row.
	conn, peer, rec = s.pair({ onincoming = function (c)
		for _ = 1, 10 do c:write(("y"):rep(100000)) end
	end })
	peer:send("go")
	peer:reset()
	check("several writes in onincoming", conn, rec)
end)

t.item(62, "write captured as conn.write and called later, also after close", function (s)
	local conn, peer, rec = s.pair()
	local write = conn.write
	s.eq(type(write), "function", "conn.write")
	s.eq(write(conn, "captured"), written(s, "captured"), "what it returns")
	s.eq(peer:receive_until(8), "captured")
	conn:close()
	s.ok(peer:closed(), "FIN")
	s.wait(function () return rec.disconnects[conn] end, 5, "ondisconnect")
	local result = write(conn, "after ondisconnect")
	if s.is_trochee then
		s.ok(not result, "write after ondisconnect is falsy")
	end
	s.sleep(0.05)
	s.eq(peer:read_available(), "", "bytes that were written after ondisconnect")
	s.eq(rec.disconnects[conn].n, 1, "calls of ondisconnect")

	-- After the peer closed.
	conn, peer, rec = s.pair()
	write = conn.write
	peer:close()
	s.wait(function () return rec.disconnects[conn] end, 5, "ondisconnect")
	result = write(conn, "nobody is there")
	if s.is_trochee then
		s.ok(not result, "write after the peer closed is falsy")
	end
	collectgarbage()
	s.sleep(0.05)
	s.eq(rec.disconnects[conn].n, 1, "calls of ondisconnect")
	-- One connection's function works on another one of its kind.
	local other, other_peer = s.pair()
	if s.name ~= "select" then
		s.eq(write, other.write, "conn.write is a plain method")
	end
	write = other.write
	write(other, "fine")
	s.eq(other_peer:receive_until(4), "fine")

	-- Between close() and the end.
	other:write("pending")
	other:close()
	write(other, " and too late")
	s.eq(other_peer:receive_until(7), "pending")
	s.ok(other_peer:closed(), "FIN")
	s.eq(other_peer:read_available(), "", "bytes that were written after close()")
end, { stock = {
	epoll = { "close() replaces conn.write; the captured function still sends", match = "written after close" },
} })
