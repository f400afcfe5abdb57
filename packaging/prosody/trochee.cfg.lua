-- Whoever reads this configuration runs on trochee, such as prosodyctl, which does not have the environment of the service.
-- 'trochee enable' writes this file and 'trochee disable' removes it. A takeover.lua that cannot be read changes nothing.
local takeover = (Lua or _G).loadfile("/usr/local/lib/trochee/lua/trochee/takeover.lua")
if takeover then takeover() end
