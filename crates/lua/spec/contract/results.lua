-- Runs the matrix of items and subjects, keeps the results as files, and judges them.
-- Used by contract_spec.lua, which asserts, and by report.lua, which writes the table.

local harness = require "harness"

local results = {}

results.directory = os.getenv "CONTRACT_RESULTS" or "target/contract"

local function read_file(name)
	local file = io.open(name)
	if not file then return end
	local text = file:read("a")
	file:close()
	return text
end

local function words(text)
	local set, list = {}, {}
	for word in (text or ""):gmatch("[^%s,]+") do
		set[word] = true
		table.insert(list, word)
	end
	return list[1] and set
end

-- The pairs { subject, item } of a run. CONTRACT_SUBJECTS and CONTRACT_ITEMS (lists) restrict it, unless all are asked
-- for, which include those that tests/prosody runs.
function results.matrix(all)
	local subjects = not all and words(os.getenv "CONTRACT_SUBJECTS")
	local numbers = not all and words(os.getenv "CONTRACT_ITEMS")
	local items = {}
	for number, item in pairs(harness.load_items()) do
		if all or not item.elsewhere and (not numbers or numbers[tostring(number)]) then
			table.insert(items, item)
		end
	end
	table.sort(items, function (a, b) return a.number < b.number end)
	local pairs_to_run = {}
	for _, item in ipairs(items) do
		for _, subject in ipairs(harness.subjects) do
			if subjects and subjects[subject] or not subjects and harness.by_default(item, subject) then
				table.insert(pairs_to_run, { subject = subject, item = item })
			end
		end
	end
	return pairs_to_run
end

-- Each pair in a process of its own, CONTRACT_JOBS at a time; most of the time they wait. One subject after the other, so that
-- those that run at once are different items, and few of them busy.
function results.run(matrix)
	assert(os.execute(("mkdir -p '%s'"):format(results.directory)))
	local lists = {}
	for _, pair in ipairs(matrix) do
		for _, suffix in ipairs { "json", "stderr", "status" } do
			os.remove(("%s/%s.%d.%s"):format(results.directory, pair.subject, pair.item.number, suffix))
		end
		lists[pair.subject] = (lists[pair.subject] or "")..("%s %d %d\n"):format(
			pair.subject, pair.item.number, pair.item.limit * harness.patience)
	end
	local name = results.directory.."/list"
	local file = assert(io.open(name, "w"))
	for _, subject in ipairs(harness.subjects) do
		file:write(lists[subject] or "")
	end
	file:close()
	-- -s KILL: an item may have its own handler for SIGTERM. timeout then dies by its own signal, about which the
	-- shell would have something to say.
	local command = ([[xargs -P %d -L 1 sh -c 'out="%s/$1.$2"; timeout -s KILL "$3" %s "$0" "$1" "$2" ]]
		..[[>"$out.json" 2>"$out.stderr"; echo $? >"$out.status"' '%srun_item.lua' <'%s' 2>/dev/null]])
	assert(os.execute(command:format(tonumber(os.getenv "CONTRACT_JOBS" or 6), results.directory, harness.lua, harness.here, name)))
end

-- The result of one pair; nil when it was not run.
function results.load(pair)
	local prefix = ("%s/%s.%d."):format(results.directory, pair.subject, pair.item.number)
	local status = tonumber(read_file(prefix.."status") or "")
	if not status then return end
	if not package.path:find(harness.source_dir, 1, true) then
		package.path = package.path..";"..harness.source_dir.."/?.lua"
		package.cpath = package.cpath..";"..harness.source_dir.."/?.so"
	end
	local result = require "util.json".decode(read_file(prefix.."json") or "")
	if type(result) ~= "table" or result.item ~= pair.item.number or result.subject ~= pair.subject then
		local message = ("died with exit status %d"):format(status)
		if status == 137 then
			message = ("timed out after %d s"):format(pair.item.limit * harness.patience)
		end
		local stderr = read_file(prefix.."stderr") or ""
		result = { status = "fail", message = message.."\n"..stderr:sub(-2000) }
	end
	return result
end

-- What a result means: "pass", "bug" (a stock bug that is on record), "not offered", "skip" or "failure", and why.
function results.judge(pair, result)
	local on_record = harness.bug(pair.item, pair.subject)
	if not result then
		return "failure", "was not run"
	elseif result.unloadable and not pair.subject:match("^trochee") and not os.getenv "CI" then
		return "skip", result.message:match("[^\n]*")
	elseif result.status == "skip" then
		return "skip", result.message
	elseif not on_record then
		return result.status == "pass" and "pass" or "failure", result.message
	end
	local bug, pattern = on_record[1], on_record.match
	if result.status == "pass" then
		return "failure", "passes, but is on record as failing: "..bug
	elseif pattern and not result.message:match(pattern) then
		return "failure", ("is on record as failing (%s), but fails otherwise: %s"):format(bug, result.message)
	elseif bug:match("^not offered: ") then
		return "not offered", (bug:gsub("^not offered: ", ""))
	end
	return "bug", bug
end

return results
