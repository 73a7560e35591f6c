import fc from "fast-check";

// Setup of the unit tier: property tests use a fixed seed, so a failure can be repeated. `npm run properties` uses random seeds.
fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: Number(process.env.FRONTCACHE_PROPERTY_SEED ?? 1) });
