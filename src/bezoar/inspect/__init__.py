"""Inspecting a trained model for backdoors: `bezoar.inspect(model, images)` gives an `InspectionResult` (docs/adr/0010)."""
