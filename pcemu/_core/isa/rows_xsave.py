"""Rows of the state images: FXSAVE, XSAVE and their kin (SDM vol. 1, chapter 13). REX.W picks 64-bit FIP and FDP."""

ROWS = """
NP 0F AE /0 m | FXSAVE My           | feat=fxsr fpu
NP 0F AE /1 m | FXRSTOR My          | feat=fxsr fpu end
NP 0F AE /4 m | XSAVE My            | feat=xsave
NP 0F AE /5 m | XRSTOR My           | feat=xsave end
NP 0F AE /6 m | XSAVEOPT My         | feat=xsaveopt
NP 0F C7 /4 m | XSAVEC My           | feat=xsavec
NP 0F 01 @D0  | XGETBV              | feat=xsave
NP 0F 01 @D1  | XSETBV              | feat=xsave end
"""
