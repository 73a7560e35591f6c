import fc from "fast-check";

// Set up for the unit tier: property tests run from one seed, so that a run that failed fails again. `npm run properties` chooses others.
fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: Number(process.env.FRONTCACHE_PROPERTY_SEED ?? 1) });
